"""Text from outside (agents, papers, programs) as inert data: capped, without characters that act on a terminal."""

from __future__ import annotations

import re

from .errors import BadInput

QUOTED_CHARACTERS = 200
# C0 and C1 controls but tab and newline; bidirectional overrides and isolates; line and paragraph separators;
# zero-width and tag characters, which hide text from a human reader but not from a model.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def inert(text: str) -> str:
    """The text without control, bidirectional, zero-width and tag characters, and without lone surrogates."""
    text = _ACTING.sub("", text.replace("\r\n", "\n"))
    return text.encode(errors="replace").decode()


def accepted(text: str, what: str, *, limit: int, required: bool = True, one_line: bool = False) -> str:
    """A caller's text, stripped and inert; on one line where it is a name in lists.

    Raises:
        BadInput: it is empty though it is required, or longer than `limit` characters.
    """
    text = " ".join(inert(text).split()) if one_line else inert(text).strip()
    if required and not text:
        raise BadInput(f"Expected {what} to say something, but it is empty.")
    if len(text) > limit:
        raise BadInput(f"Expected {what} to have at most {limit} characters, but it has {len(text)}. Shorten it.")
    return text


def excerpt(text: str, limit: int) -> str:
    """The beginning of a text, cut with an ellipsis at `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def quoted(text: str) -> str:
    """The beginning of somebody else's words, harmless and on one line, for an error."""
    return excerpt(" ".join(inert(text).split()), QUOTED_CHARACTERS)
