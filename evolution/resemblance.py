"""When two pieces of knowledge say the same: shingles, and the words that turn a sentence round."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .knowledge import Knowledge
from .sources import identifies

SHINGLE_WORDS = 3
NEARLY_EQUAL = 0.7
"""Jaccard similarity of the shingles of two texts from which they are one. The examples are those of
tests/evolution/test_resemblance.py: copies with a word corrected or a sentence more lie above .8, different items in
one mould below .6; and what lies above and says the opposite is told by `opposition`."""
CLOSE = 0.5
SAME_TITLE = 0.8
"""Jaccard similarity of the words of two titles from which they are one."""
CONTAINED = 0.5
"""Share of the shorter text's shingles that the longer one has, from which two texts of one source are one."""
SENTENCE_WORDS = 8
"""A run of so many new words is a sentence more, not another word in a sentence."""

_NEGATION = re.compile("no|not|never|none|nor|without|neither|avoid|cannot|(?:ca|do|does|is|are|wo)nt")
_TURNING = re.compile(
    r"\d.*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|once|twice|thrice|"
    "half|halve[sd]?|double[sd]?|triple[sd]?|second|third|single|both|"
    "more|less|larger|smaller|bigger|higher|lower|(?:in|de)creas(?:e|es|ed|ing)|raises?|reduces?|faster|slower|"
    "before|after|early|late|earlier|later|better|worse|best|worst|max(?:imum|imi[sz]e)|min(?:imum|imi[sz]e)|"
    "add(?:s|ing)?|remov(?:e|es|ing)|helps?|hurts?|gains?|loss|loses|above|below|first|last|with|pre|post|inner|outer|"
    "upper|strong|weak|long|short|many|few|always|rarely"
)
"""Numbers in digits and in words, and words of direction and amount."""


@dataclass(frozen=True)
class Resemblance:
    """What two items have in common. `same`: they say the same and are to be one."""

    same: bool
    why: str


@dataclass(frozen=True)
class Reading:
    """An item in the form in which it is compared: to read it takes longer than to compare it."""

    knowledge: Knowledge
    words: list[str]
    """Of title and body, as `shingles`."""
    shingles: frozenset[tuple[str, ...]]
    body: frozenset[tuple[str, ...]]
    title: frozenset[str]

    @classmethod
    def of(cls, item: Knowledge) -> Reading:
        """An item, read."""
        every = words(item.text)
        return cls(item, every, _shingles(every), shingles(item.body), frozenset(words(item.title)))


def resemblance(new: Knowledge, old: Knowledge) -> Resemblance | None:
    """What `compared` says of two items."""
    return compared(Reading.of(new), Reading.of(old))


def compared(new: Reading, old: Reading) -> Resemblance | None:
    """Whether two items say the same thing, are close, or neither (`None`).

    Two texts are one where nearly all their shingles are, or where they come from one source and one says most of what
    the other says. They are never one where they differ in a negation, or where each has a number or a word of
    direction (larger, before) in place of another: such a pair agrees in nearly every word and says the opposite.
    """
    equal = jaccard(new.shingles, old.shingles)
    shared = sorted({source for source in new.knowledge.sources if identifies(source)} & set(old.knowledge.sources))
    titles = jaccard(new.title, old.title)
    inside = containment(new.body, old.body)
    if equal >= NEARLY_EQUAL:
        why = f"nearly the same text (similarity {equal:.2f})"
    elif shared and inside >= CONTAINED:
        title = ", the same title" if titles >= SAME_TITLE else ""
        why = f"the same source {shared[0]}{title}, and one says most of what the other says ({inside:.2f})"
    elif shared and titles >= SAME_TITLE:
        return Resemblance(False, f"the same source {shared[0]} and title, but another text")
    else:
        return Resemblance(False, f"much the same text (similarity {equal:.2f})") if equal >= CLOSE else None
    opposed = _opposed((new.words, old.words), new.shingles & old.shingles)
    return Resemblance(False, f"{why}, but they differ in {', '.join(opposed)}") if opposed else Resemblance(True, why)


def opposition(first: str, second: str) -> list[str]:
    """Words that stand where two texts differ and can turn the meaning of a sentence round; at most six."""
    return _opposed((words(first), words(second)), shingles(first) & shingles(second))


def _opposed(texts: tuple[Sequence[str], Sequence[str]], shared: frozenset[tuple[str, ...]]) -> list[str]:
    runs = [_runs_outside(text, shared) for text in texts]
    if not all(any(len(run) >= SENTENCE_WORDS for run in own) for own in runs):
        runs = [[run for run in own if len(run) < SENTENCE_WORDS] for own in runs]
    left, right = (Counter(word for run in own for word in run) for own in runs)
    mine, theirs = left - right, right - left
    negated = {word for word in mine | theirs if _NEGATION.fullmatch(word)}
    turning = [{word for word in own if _TURNING.fullmatch(word)} for own in (mine, theirs)]
    return sorted(negated | turning[0] | turning[1] if all(turning) else negated)[:6]


def _runs_outside(every: Sequence[str], shared: frozenset[tuple[str, ...]]) -> list[list[str]]:
    """Runs of words that are in no shared shingle."""
    covered = [False] * len(every)
    for start in range(len(every)):
        if tuple(every[start : start + SHINGLE_WORDS]) in shared:
            covered[start : start + SHINGLE_WORDS] = [True] * len(covered[start : start + SHINGLE_WORDS])
    runs: list[list[str]] = [[]]
    for word, inside in zip(every, covered, strict=True):
        if not inside:
            runs[-1].append(word)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; numbers with their decimals."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\u2019", "")
    return re.findall(r"\d+(?:\.\d+)+(?:e-?\d+)?|\w+", plain)


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Every run of three words; the whole text where it has fewer."""
    return _shingles(words(text))


def _shingles(every: Sequence[str]) -> frozenset[tuple[str, ...]]:
    if len(every) <= SHINGLE_WORDS:
        return frozenset([tuple(every)] if every else [])
    return frozenset(zip(*(every[start:] for start in range(SHINGLE_WORDS)), strict=False))


def jaccard(first: frozenset[object], second: frozenset[object]) -> float:
    """Shared elements over all elements (Broder 1997); 0 where both sets are empty."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared) if first or second else 0.0


def containment(first: frozenset[object], second: frozenset[object]) -> float:
    """Shared elements over those of the smaller set (Broder 1997); 0 where it is empty."""
    smaller = min(len(first), len(second))
    return len(first & second) / smaller if smaller else 0.0
