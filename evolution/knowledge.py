"""What a piece of knowledge may look like: its texts, inert and capped, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import BadInput
from .sources import canonical_source
from .text import accepted

TITLE_LIMIT = 200
BODY_LIMIT = 20_000
SYMPTOM_LIMIT = 1000
SOURCE_LIMIT = 300
TAG_LIMIT = 40
MAX_TAGS = 10
MAX_MERGED = 100
"""Tags and further sources of an item that others were merged into."""


@dataclass(frozen=True)
class Knowledge:
    """The texts of an item. The first source is the one it was stored with."""

    title: str
    body: str
    symptom: str
    sources: tuple[str, ...]
    tags: tuple[str, ...]

    @property
    def text(self) -> str:
        """What is compared."""
        return f"{self.title}\n{self.body}"


def checked(
    *,
    title: str,
    body: str,
    sources: Sequence[str],
    symptom: str = "",
    tags: Sequence[str] = (),
    where: str,
    max_tags: int = MAX_TAGS,
) -> Knowledge:
    """Texts from outside as an item: inert, capped, the sources in their canonical form.

    Args:
        where: names the item in messages, such as `item 2`.

    Raises:
        BadInput: a text is empty or too long, or a source is none.
    """
    if len(tags) > max_tags:
        raise BadInput(f"Expected at most {max_tags} tags in {where}, but got {len(tags)}.")
    if len(sources) > 1 + MAX_MERGED:
        raise BadInput(f"Expected at most {MAX_MERGED} further sources in {where}, but got {len(sources) - 1}.")
    cleaned = [accepted(source, f"source of {where}", limit=SOURCE_LIMIT, one_line=True) for source in sources]
    try:
        canonical = [canonical_source(source) for source in cleaned]
    except BadInput as error:
        raise BadInput(f"source of {where}: {error}") from error
    return Knowledge(
        title=accepted(title, f"title of {where}", limit=TITLE_LIMIT, one_line=True),
        body=accepted(body, f"body of {where}", limit=BODY_LIMIT),
        symptom=accepted(symptom, f"symptom of {where}", limit=SYMPTOM_LIMIT, required=False),
        sources=tuple(dict.fromkeys(canonical)),
        tags=union((accepted(tag, f"tag of {where}", limit=TAG_LIMIT, one_line=True) for tag in tags), ()),
    )


def union(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    """Every word once, whatever its case, as it was written first."""
    known: dict[str, str] = {}
    for word in (*first, *second):
        known.setdefault(word.casefold(), word)
    return tuple(known.values())
