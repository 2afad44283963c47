"""Arguments of the wrong form, told in our words: what was expected, what came, and what there is instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..evolution.text import excerpt


def unknown(tool: str, arguments: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """The SDK drops an argument that it does not know, and with it what the agent meant: `parent` for `parents`."""
    for argument in arguments.keys() - names:
        yield f"{tool} has no argument {argument[:80]}. {_instead(argument, names)}"


def invalid(error: ValidationError, schema: Mapping[str, Any]) -> Iterator[str]:
    """One line for each argument that is missing, of the wrong kind or out of range.

    Args:
        schema: JSON schema of the tool's arguments.
    """
    for problem in error.errors(include_url=False):
        where = ".".join(str(part) for part in problem["loc"])[:200]
        if problem["type"] == "missing":
            yield f"Expected the argument {where}, but it is missing."
        elif problem["type"] == "extra_forbidden":
            yield _not_a_field(problem, where, schema)
        else:
            yield f"{where}: {problem['msg']}, but got {excerpt(repr(problem['input']), 80)}."


def _not_a_field(problem: ErrorDetails, where: str, schema: Mapping[str, Any]) -> str:
    *path, name = problem["loc"]
    names = list(_fields(schema, path))
    within = ".".join(str(part) for part in path)[:200]
    return f"{where}: Extra inputs are not permitted. {_instead(str(name), names, within)}"


def _fields(schema: Mapping[str, Any], path: Sequence[int | str]) -> Mapping[str, Any]:
    """The fields of the object at a path, none where the path cannot be followed."""
    here: Mapping[str, Any] = schema
    for part in path:
        step = here.get("items", {}) if isinstance(part, int) else here.get("properties", {}).get(part, {})
        here = _object(step, schema.get("$defs", {}))
    return cast("Mapping[str, Any]", here.get("properties", {}))


def _object(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a schema refers to, or the one that is not null of several."""
    if "$ref" in schema:
        return definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            return _object(choice, definitions)
    return schema


def _instead(name: str, names: Sequence[str], within: str = "It") -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]}?" if near else f"{within} has {', '.join(names)}."
