"""Short ids: a letter for the kind and the row's number, `c1`, `n42`, `e17`, `k9`, `l3`, `a5`."""

from __future__ import annotations

import re
from typing import Literal

from .errors import BadInput

Kind = Literal["c", "n", "e", "k", "l", "a"]

KIND_NAMES: dict[Kind, str] = {
    "c": "campaign",
    "n": "node",
    "e": "experiment",
    "k": "cognition item",
    "l": "lesson",
    "a": "analysis",
}

_SHORT_ID = re.compile(r"([a-z])([1-9][0-9]{0,17})")


def short_id(kind: Kind, number: int) -> str:
    """`short_id("n", 42) == "n42"`."""
    return f"{kind}{number}"


def split_id(text: str) -> tuple[Kind, int]:
    """The kind and number of any short id.

    Raises:
        BadInput: the text is not a short id.
    """
    match = _SHORT_ID.fullmatch(text.strip())
    if match is None or match[1] not in KIND_NAMES:
        known = ", ".join(f"{letter}1 ({name})" for letter, name in KIND_NAMES.items())
        raise BadInput(f"Expected an id such as {known}, but got {text[:80]!r}.")
    return match[1], int(match[2])  # pyright: ignore[reportReturnType] -- narrowed by the test above


def parse_id(text: str, kind: Kind) -> int:
    """The number of a short id that must be of the given kind.

    Raises:
        BadInput: the text is not a short id, or names something of another kind.
    """
    found, number = split_id(text)
    if found != kind:
        raise BadInput(f"Expected the id of {_one(kind)} such as {kind}1, but {text!r} is that of {_one(found)}.")
    return number


def _one(kind: Kind) -> str:
    return f"{'an' if kind in 'ae' else 'a'} {KIND_NAMES[kind]}"
