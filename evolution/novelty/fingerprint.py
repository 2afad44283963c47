"""When two candidates are the same program: equal syntax trees, whatever their comments, docstrings and layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping

from ..errors import BadInput

_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")
"""Where a statement holds other statements."""


def fingerprint(files: Mapping[str, str], *, trees: Mapping[str, ast.Module] | None = None) -> str:
    """SHA-256 over the normalised files. Python by its tree, any other file by its text.

    Args:
        trees: what `parsed` gives, where that is known already.

    Raises:
        BadInput: a Python file does not parse; the message names file, line and what is wrong.
    """
    trees = trees if trees is not None else parsed(files)
    digest = hashlib.sha256()
    for path, text in sorted(files.items()):
        body = normalised(path, trees[path]) if path in trees else text
        digest.update(f"{path}\0{len(body)}\0{body}\0".encode())
    return digest.hexdigest()


def parsed(files: Mapping[str, str]) -> dict[str, ast.Module]:
    """The syntax trees of the Python files of a program, without docstrings.

    Raises:
        BadInput: one does not parse; the message names file, line and what is wrong.
    """
    trees = {path: parse(path, text) for path, text in files.items() if path.endswith(".py")}
    for tree in trees.values():
        _drop_docstrings(tree)
    return trees


def normalised(path: str, tree: ast.Module) -> str:
    """The tree of a Python file as text, without positions."""
    try:
        return ast.dump(tree)
    except RecursionError as error:
        raise BadInput(f"Expected a program that can be parsed, but {path} is nested too deeply.") from error
    except ValueError as error:  # an integer too long to print
        raise BadInput(f"Expected a program that can be compared with others, but in {path}: {error}.") from error


def parse(path: str, text: str) -> ast.Module:
    """Parse a Python file.

    Raises:
        BadInput: it does not parse; the message names file, line and what is wrong.
    """
    try:
        return ast.parse(text, filename=path)
    except SyntaxError as error:
        line = (error.text or "").rstrip()
        raise BadInput(
            f"Expected Python, but {path} does not parse: {error.msg} (line {error.lineno})"
            + (f":\n{line[:200]}" if line else ".")
        ) from error
    except (RecursionError, MemoryError, ValueError) as error:
        raise BadInput(f"Expected a program that can be parsed, but {path} cannot be: {error}.") from error


def _drop_docstrings(tree: ast.Module) -> None:
    """From the module, and from every class and function. Those are statements, so expressions need no look."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            _drop_docstring(node)
        for field in _BLOCKS:
            stack += getattr(node, field, ())


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body = node.body[1:] or [ast.Pass()]
