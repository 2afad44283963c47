"""When two candidates are the same program: equal syntax trees, whatever their comments, docstrings and layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping

from .errors import BadInput


def fingerprint(files: Mapping[str, str]) -> str:
    """SHA-256 over the normalised files. Python by its tree, any other file by its text.

    Raises:
        BadInput: a Python file does not parse; the message names file, line and what is wrong.
    """
    digest = hashlib.sha256()
    for path, text in sorted(files.items()):
        body = normalised(path, text) if path.endswith(".py") else text
        digest.update(f"{path}\0{len(body)}\0{body}\0".encode())
    return digest.hexdigest()


def normalised(path: str, text: str) -> str:
    """The tree of a Python file as text, without positions and docstrings."""
    try:
        tree = parse(path, text)
        for node in ast.walk(tree):
            _drop_docstring(node)
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


def _drop_docstring(node: ast.AST) -> None:
    if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or not node.body:
        return
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body = node.body[1:] or [ast.Pass()]
