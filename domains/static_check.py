"""What can be said of a candidate before anything runs: form, size, syntax, names. Answers at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from ..evolution.errors import BadInput
from ..evolution.novelty.fingerprint import parse, parsed
from .contract import CandidateForm

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def check_candidate(files: Mapping[str, str], form: CandidateForm) -> dict[str, ast.Module]:
    """Refuse a candidate that cannot be run; return its Python files, parsed.

    Raises:
        BadInput: with what was expected, what came and what to do.
    """
    _check_form(files, form)
    trees = parsed(files)
    for path, tree in trees.items():
        _check_imports(path, tree, form)
    missing = _missing(files, trees, form)
    if missing:
        raise BadInput(
            f"Expected {form.entry} to define {', '.join(missing)} at its top level, but it does not. "
            "See the interface in the domain's brief."
        )
    return trees


def _check_form(files: Mapping[str, str], form: CandidateForm) -> None:
    for path, text in files.items():
        check_path(path)
        if "\0" in text:
            raise BadInput(f"Expected {path} to be text, but it holds NUL bytes.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"Expected {path} to be text, but it holds lone surrogates ({error.reason}).") from error
    for path in files:
        for folder in map(str, PurePosixPath(path).parents):
            if folder in files:
                raise BadInput(f"Expected {folder} to be a file or a folder, but {path} makes it both.")
    if form.entry not in files:
        raise BadInput(
            f"Expected a file {form.entry}, the entry of this domain, but got {sorted(files) or 'no files'}."
        )
    if not files[form.entry].strip():
        raise BadInput(f"Expected a program in {form.entry}, but it is empty.")
    if len(files) > form.max_files:
        raise BadInput(f"Expected at most {form.max_files} file(s), but got {len(files)}: {sorted(files)}.")
    size = sum(len(text.encode()) for text in files.values())
    if size > form.max_bytes:
        raise BadInput(f"Expected at most {form.max_bytes} bytes of candidate, but got {size}.")


def check_path(path: str) -> None:
    """Refuse a file name that is not a plain relative path.

    Raises:
        BadInput: it is absolute, climbs, hides, or uses characters that file systems disagree on.
    """
    parts = path.split("/")
    if not 1 <= len(parts) <= 8 or str(PurePosixPath(path)) != path or not all(map(_PART.fullmatch, parts)):
        raise BadInput(
            "Expected file names such as 'model.py' or 'layers/mixer.py' (letters, digits, '_', '-', '.', at most "
            f"8 folders deep), but got {path[:120]!r}."
        )


def _check_imports(path: str, tree: ast.Module, form: CandidateForm) -> None:
    for line, module in _imports(tree):
        for forbidden in form.forbidden_imports:
            if module == forbidden or module.startswith(f"{forbidden}."):
                raise BadInput(f"Expected no import of {forbidden}, but {path} imports {module} at line {line}.")


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.lineno, node.module


def _missing(files: Mapping[str, str], trees: Mapping[str, ast.Module], form: CandidateForm) -> list[str]:
    if not form.must_define:
        return []
    entry = trees[form.entry] if form.entry in trees else parse(form.entry, files[form.entry])
    defined = set(_top_level_names(entry))
    return [name for name in form.must_define if name not in defined]


def _top_level_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign():
                yield from (target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name() as target):
                yield target.id
            case ast.ImportFrom() | ast.Import():
                yield from ((name.asname or name.name).split(".")[0] for name in node.names)
            case _:
                # A definition inside `if` or `try` at module level counts: only running would tell.
                yield from (
                    inner.name
                    for inner in ast.walk(node)
                    if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                )
