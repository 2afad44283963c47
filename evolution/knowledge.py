"""What a piece of knowledge may look like, and when two of them say the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import BadInput
from .sources import canonical_source, identifies
from .text import accepted

TITLE_LIMIT = 200
BODY_LIMIT = 20_000
SYMPTOM_LIMIT = 1000
SOURCE_LIMIT = 300
TAG_LIMIT = 40
MAX_TAGS = 10
MAX_MERGED = 100
"""Tags and further sources of an item that others were merged into."""

SHINGLE_WORDS = 3
NEARLY_EQUAL = 0.7
"""Jaccard similarity of the shingles of two texts from which they are one. tests/evolution/test_knowledge.py holds the
examples: corrected and reworded copies lie above .72, different items in the same mould below .62."""
CLOSE = 0.5
SAME_TITLE = 0.8
"""Jaccard similarity of the words of two titles from which they are one."""
CONTAINED = 0.5
"""Share of the shorter text's shingles that the longer one has, from which two texts of one source are one."""

_NEGATION = re.compile("no|not|never|none|nor|without|neither|avoid|cannot|(?:ca|do|does|is|are|wo)nt")
_TURNING = re.compile(
    r"\d.*|more|less|larger|smaller|bigger|higher|lower|(?:in|de)creas(?:e|es|ed|ing)|raises?|reduces?|faster|slower|"
    "before|after|early|late|earlier|later|better|worse|best|worst|max(?:imum|imi[sz]e)|min(?:imum|imi[sz]e)|"
    "add(?:s|ing)?|remov(?:e|es|ing)|helps?|hurts?|gains?|loss|loses|above|below|first|last|with|pre|post|inner|outer|"
    "upper|strong|weak|long|short|many|few|always|rarely"
)
"""Numbers, and words of direction and amount."""


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


@dataclass(frozen=True)
class Resemblance:
    """What two items have in common. `same`: they say the same and are to be one."""

    same: bool
    why: str


def resemblance(new: Knowledge, old: Knowledge) -> Resemblance | None:
    """Whether two items say the same thing, are close, or neither (`None`).

    Two texts are one where nearly all their shingles are, or where they come from one source and one says most of what
    the other says. They are never one where they differ in a negation, or where each has a number or a word of
    direction (larger, before) that the other lacks: such a pair agrees in nearly every word and says the opposite.
    """
    mine, theirs = shingles(new.text), shingles(old.text)
    equal = jaccard(mine, theirs)
    shared = sorted({source for source in new.sources if identifies(source)} & set(old.sources))
    titles = jaccard(frozenset(words(new.title)), frozenset(words(old.title)))
    inside = containment(shingles(new.body), shingles(old.body))
    if equal >= NEARLY_EQUAL:
        why = f"nearly the same text (similarity {equal:.2f})"
    elif shared and inside >= CONTAINED:
        title = ", the same title" if titles >= SAME_TITLE else ""
        why = f"the same source {shared[0]}{title}, and one says most of what the other says ({inside:.2f})"
    elif shared and titles >= SAME_TITLE:
        return Resemblance(False, f"the same source {shared[0]} and title, but another text")
    else:
        return Resemblance(False, f"much the same text (similarity {equal:.2f})") if equal >= CLOSE else None
    opposed = opposition(new.text, old.text)
    return Resemblance(False, f"{why}, but they differ in {', '.join(opposed)}") if opposed else Resemblance(True, why)


def opposition(first: str, second: str) -> list[str]:
    """Words that two texts do not share and that can turn the meaning of a sentence round; at most six."""
    left, right = set(words(first)), set(words(second))
    negated = {word for word in left ^ right if _NEGATION.fullmatch(word)}
    turning = [{word for word in own if _TURNING.fullmatch(word)} for own in (left - right, right - left)]
    return sorted(negated | turning[0] | turning[1] if all(turning) else negated)[:6]


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; numbers with their decimals."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", "")
    return re.findall(r"\d+(?:\.\d+)+(?:e-?\d+)?|\w+", plain)


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Every run of three words; the whole text where it has fewer."""
    every = words(text)
    if len(every) <= SHINGLE_WORDS:
        return frozenset([tuple(every)] if every else [])
    return frozenset(zip(*(every[start:] for start in range(SHINGLE_WORDS)), strict=False))


def jaccard(first: frozenset[object], second: frozenset[object]) -> float:
    """Shared elements over all elements (Broder 1997); 0 where both sets are empty."""
    return len(first & second) / len(first | second) if first or second else 0.0


def containment(first: frozenset[object], second: frozenset[object]) -> float:
    """Shared elements over those of the smaller set (Broder 1997); 0 where it is empty."""
    smaller = min(len(first), len(second))
    return len(first & second) / smaller if smaller else 0.0
