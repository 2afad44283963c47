"""What a program looks like, whatever its layout, comments and names: its tree as tokens, definition by definition.

Tokens say by their first character what they are: `<` a node of the tree with the lengths of its parts, `$` a name that
is local to a function, `@` one of the top level, `#` a number, `'` a string, `.` an attribute, `=` a keyword; anything
else is a name from outside. Annotations stand between `OPEN` and `CLOSE`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .fingerprint import parsed
from .names import Names, Scope

MAX_TOKENS = 60_000
"""Of a program. What is longer is known by its beginning only."""
MAX_PARSED = 400_000
"""Characters of Python, all files together. What is longer is taken as words."""
OPEN, CLOSE = "~(", "~)"
"""Around an annotation."""
_NAME_FIELDS = {
    ("Name", "id"), ("arg", "arg"), ("FunctionDef", "name"), ("AsyncFunctionDef", "name"), ("ClassDef", "name"),
    ("alias", "asname"), ("ExceptHandler", "name"), ("MatchAs", "name"), ("MatchStar", "name"),
    ("MatchMapping", "rest"), ("Global", "names"), ("Nonlocal", "names"),
}  # fmt: skip
_ANNOTATIONS = {"annotation", "returns"}
_SKIPPED_FIELDS = {"ctx", "kind", "type_comment", "simple"}
_WORD = re.compile(r"\d[\w.]*|\w+|[^\w\s]")


@dataclass(frozen=True)
class Definition:
    """A statement at the top level of a file, or all of a file that is not Python."""

    name: str
    """What it defines; empty where it is no definition."""
    live: bool
    """False where nothing that runs mentions what it defines."""
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Outline:
    """A program as definitions."""

    canonical: str
    """SHA-256 that is equal for programs that differ in nothing but layout, comments, docstrings and the names that
    only they themselves can see."""
    complete: bool
    """False where the program is too long and only its beginning is here."""
    definitions: tuple[Definition, ...]

    def packed(self) -> bytes:
        """For storing, without `canonical`."""
        body = [self.complete, [[entry.name, entry.live, entry.tokens] for entry in self.definitions]]
        return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 3)

    @classmethod
    def unpacked(cls, canonical: str, body: bytes) -> Outline:
        """What `packed` gave."""
        complete, entries = json.loads(zlib.decompress(body))
        return cls(canonical, complete, tuple(Definition(name, live, tuple(tokens)) for name, live, tokens in entries))


def outline_of(
    files: Mapping[str, str],
    interface: Collection[str] = (),
    *,
    trees: Mapping[str, ast.Module] | None = None,
) -> Outline:
    """The outline of a program.

    Args:
        interface: names that are called from outside, so that they cannot be changed.
        trees: what `parsed` gives, where that is known already.

    Raises:
        BadInput: a Python file does not parse.
    """
    trees = trees if trees is not None else parsed(files)
    if sum(len(files[path]) for path in trees) > MAX_PARSED:
        trees = {}
    statements = [statement for _, tree in sorted(trees.items()) for statement in tree.body]
    names = Names(statements, interface)
    live = _live(statements, names, interface)
    room = MAX_TOKENS
    definitions: list[Definition] = []
    for statement, scope, is_live in zip(statements, names.scopes, live, strict=True):
        tokens = _cut(_tokens(statement, scope, names), room)
        room -= len(tokens)
        definitions.append(Definition(getattr(statement, "name", "") or "", is_live, tokens))
    texts = [text for path, text in sorted(files.items()) if path not in trees]
    for text in texts:
        tokens = _cut(_words(text), room)
        room -= len(tokens)
        definitions.append(Definition("", True, tokens))
    complete = room > 0
    # The tree of one file says nothing of where the next begins, and a text is more than its words.
    sound = complete and len(files) == len(trees) == 1
    canonical = _canonical(definitions, names) if sound else _as_it_is(files)
    return Outline(canonical, complete, tuple(entry for entry in definitions if entry.tokens))


def _cut(tokens: Iterator[str], room: int) -> tuple[str, ...]:
    return tuple(token for token, _ in zip(tokens, range(room), strict=False))


def _words(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text):
        yield f"#{match[0]}" if match[0][0].isdigit() else match[0]


def _tokens(statement: ast.stmt, scope: Scope, names: Names) -> Iterator[str]:
    """The tree in the order in which it is written, as a sequence from which it could be built again."""
    stack: list[Any] = [statement]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, ast.Constant):
            yield _constant(item.value)
        else:
            head, parts = _opened(item, scope, names)
            yield head
            stack.extend(reversed(parts))


def _opened(node: ast.AST, scope: Scope, names: Names) -> tuple[str, list[Any]]:
    """The token of a node, and the nodes and tokens it is made of."""
    kind = type(node).__name__
    if isinstance(node, ast.Name):
        return _name(node.id, scope, names), []
    head, parts = [f"<{kind}"], list[Any]()
    for field in node._fields:
        value = getattr(node, field, None)
        if field in _SKIPPED_FIELDS:
            continue
        if field in _ANNOTATIONS:
            parts += [OPEN, value, CLOSE] if value is not None else []
        elif isinstance(value, list):
            entries = cast(list[Any], value)
            head.append(f"/{len(entries)}")
            # None: a keyword parameter without a default, and the key of {**mapping}.
            parts += [_name(entry, scope, names) if isinstance(entry, str) else entry or "-" for entry in entries]
        elif value is None:
            head.append("-")
        elif isinstance(value, ast.AST):
            parts.append(value)
        elif (kind, field) in _NAME_FIELDS:
            parts.append(_name(value, scope, names))
        else:
            parts.append(_word(kind, value, names))
    return "".join(head), parts


def _name(name: str, scope: Scope, names: Names) -> str:
    if name in scope.local:
        return f"${name}"
    return f"@{name}" if name in names.module else name


def _word(kind: str, value: Any, names: Names) -> str:
    if kind == "keyword":
        return f"=${value}" if value in names.parameters else f"={value}"
    return f".{value}"


def _constant(value: Any) -> str:
    if isinstance(value, (str, bytes)):
        text = repr(value)
        if len(text) > 80:
            text = f"{text[:60]}...{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        return f"'{text}"
    if value is None or value is ... or isinstance(value, bool):
        return repr(value)
    # Python refuses to print very long integers in decimal.
    return f"#{value:#x}" if isinstance(value, int) and value.bit_length() > 1000 else f"#{value!r}"


def _live(statements: Sequence[ast.stmt], names: Names, interface: Collection[str]) -> list[bool]:
    """Which statements run or are mentioned by one that does. Without a known interface, all of them."""
    mentioned = [scope.loaded | scope.attributes for scope in names.scopes]
    reached = {
        place
        for place, (statement, scope) in enumerate(zip(statements, names.scopes, strict=True))
        if not interface or scope.bound & set(interface) or not _only_defines(statement)
    }
    fresh = list(reached)
    while fresh:
        wanted = mentioned[fresh.pop()]
        found = [place for place, scope in enumerate(names.scopes) if place not in reached and scope.bound & wanted]
        reached.update(found)
        fresh += found
    return [place in reached for place in range(len(statements))]


def _only_defines(statement: ast.stmt) -> bool:
    """Whether a statement has no effect but to bind a name."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return not statement.decorator_list
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.Assign() | ast.AnnAssign():
            return not any(isinstance(node, (ast.Call, ast.Await)) for node in ast.walk(statement))
        case _:
            return False


def _as_it_is(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def _canonical(definitions: Sequence[Definition], names: Names) -> str:
    """Names that may be any are numbered as they occur: those of the top level in the program, others in the
    definition."""
    digest = hashlib.sha256()
    top: dict[str, str] = {}
    for definition, scope in zip(definitions, names.scopes, strict=True):
        inner: dict[str, str] = {}
        numbered: list[str] = []
        for token in definition.tokens:
            if token[0] in "$@" and names.renamable(token[1:], scope):
                known = inner if token[0] == "$" else top
                token = known.setdefault(token, f"{token[0]}{len(known)}")
            numbered.append(token)
        digest.update("\0".join(numbered).encode() + b"\0")
    return digest.hexdigest()
