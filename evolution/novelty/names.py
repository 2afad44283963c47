"""Which names a Python program binds, and which of them nothing outside of it, and no text in it, can depend on."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

Place = Literal["module", "class", "function"]
_REFLECTIVE = frozenset({"eval", "exec", "globals", "locals", "vars"})
_BUILTINS = frozenset(dir(builtins))
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_INNER_SCOPES = (*_FUNCTIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class Scope:
    """The names of one statement at the top level of a file."""

    bound: set[str] = field(default_factory=set[str])
    """At the top level of the file."""
    local: set[str] = field(default_factory=set[str])
    """Inside the functions of this statement, at any depth."""
    loaded: set[str] = field(default_factory=set[str])
    parameters: set[str] = field(default_factory=set[str])
    attributes: set[str] = field(default_factory=set[str])
    """Of anything, and what is imported by name: where other files could name what this program binds."""
    in_class: bool = False


class Names:
    """The names of a program.

    Args:
        statements: those at the top level of all its files.
        interface: names that are called from outside.
    """

    def __init__(self, statements: Iterable[ast.stmt], interface: Collection[str]) -> None:
        self._fixed = set(_BUILTINS) | set(interface)
        self._keywords: set[str] = set()
        self._reflective = False
        self.scopes = [self._scope(statement) for statement in statements]
        self.module = set[str]().union(*(scope.bound for scope in self.scopes))
        self.parameters = set[str]().union(*(scope.parameters for scope in self.scopes))
        loaded = set[str]().union(*(scope.loaded for scope in self.scopes))
        for scope in self.scopes:
            self._fixed |= scope.loaded - scope.local - self.module  # they come from elsewhere
            # What nothing in the program uses is there for the outside, its parameters by name included.
            if scope.in_class or not scope.bound <= loaded or scope.bound & self._fixed:
                self._fixed |= scope.parameters
        self._fixed |= self._keywords & self.parameters
        attributes = set[str]().union(*(scope.attributes for scope in self.scopes))
        locals_ = set[str]().union(*(scope.local for scope in self.scopes))
        self._free_globals = (self.module & loaded) - self._fixed - attributes - locals_

    def renamable(self, name: str, scope: Scope) -> bool:
        """Whether the program stays the same if this name is another one, wherever it occurs (in `scope`, if local)."""
        if self._reflective:
            return False
        return name in self._free_globals or (
            name in scope.local and name not in self._fixed and name not in self.module
        )

    def _scope(self, statement: ast.stmt) -> Scope:
        scope = Scope(in_class=isinstance(statement, ast.ClassDef))
        stack: list[tuple[ast.AST, Place]] = [(statement, "module")]
        while stack:
            node, place = stack.pop()
            self._note(node, place, scope)
            if isinstance(node, _INNER_SCOPES):
                place = "function"
            elif isinstance(node, ast.ClassDef):
                place = "class"
            stack.extend((child, place) for child in _children(node))
        return scope

    def _note(self, node: ast.AST, place: Place, scope: Scope) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                scope.loaded.add(name)
                self._reflective |= name in _REFLECTIVE
            case ast.Name(id=name):
                self._bind([name], place, scope)
            case ast.Attribute(attr=name):
                scope.attributes.add(name)
            case ast.Constant(value=str() as text) if text.isidentifier():
                self._fixed.add(text)
            case ast.arg(arg=name):
                scope.parameters.add(name)
                self._bind([name], "function", scope)
            case ast.keyword(arg=str() as name):
                self._keywords.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self._bind([name], place, scope)
            case ast.alias(name=name, asname=other):
                scope.attributes.add(name)
                self._reflective |= name == "*"
                self._bind([other or name.split(".")[0]], place, scope)
            case ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name):
                self._bind([name], place, scope)
            case ast.MatchStar(name=str() as name) | ast.MatchMapping(rest=str() as name):
                self._bind([name], place, scope)
            case ast.Global(names=names):
                self._bind(names, "module", scope)
                self._fixed.update(names)
            case ast.Nonlocal(names=names):
                self._bind(names, "function", scope)
            case _:
                pass

    def _bind(self, names: Sequence[str], place: Place, scope: Scope) -> None:
        if place == "module":
            scope.bound.update(names)
        elif place == "function":
            scope.local.update(names)
        else:  # the body of a class: they are attributes
            self._fixed.update(names)


def _children(node: ast.AST) -> list[ast.AST]:
    """As `ast.iter_child_nodes`, but for contexts, which are most of them, and in a third of the time."""
    found: list[ast.AST] = []
    for name in node._fields:
        if name != "ctx":
            value: Any = getattr(node, name, None)
            if isinstance(value, ast.AST):
                found.append(value)
            elif isinstance(value, list):
                found += [entry for entry in cast(list[Any], value) if isinstance(entry, ast.AST)]
    return found
