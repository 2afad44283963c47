"""Growth of the cognition store: what says the same as a stored item is merged into it, with a notice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from ..database import cognition
from ..database.cognition import Merged, NewItem
from ..database.connection import Reader, Transaction
from ..database.workspace import Workspace
from ..evolution.knowledge import Knowledge
from ..evolution.models import CognitionOrigin
from ..evolution.resemblance import Reading, Resemblance, compared, words

REACH = 5
"""Items nearest to a new one that are compared with it, besides those of the same source."""


@dataclass(frozen=True)
class MergedInto:
    """An item that became part of an older one."""

    place: int
    """Of the new item in the call, from 1."""
    into: int
    why: str
    what: Merged
    lost_words: tuple[str, ...]
    """Words of the text that is no longer shown and that the shown one does not have."""


@dataclass(frozen=True)
class Near:
    """A new item that is close to an older one and was stored all the same."""

    number: int
    near: int
    why: str


@dataclass(frozen=True)
class Stored:
    """What became of some items."""

    added: list[int] = field(default_factory=list[int])
    known: list[int] = field(default_factory=list[int])
    merged: list[MergedInto] = field(default_factory=list[MergedInto])
    near: list[Near] = field(default_factory=list[Near])


class Comparisons:
    """What items have in common, each pair worked out once: two long texts take milliseconds."""

    def __init__(self) -> None:
        self._readings: dict[Knowledge, Reading] = {}
        self._found: dict[tuple[Knowledge, Knowledge], Resemblance | None] = {}

    @property
    def worked_out(self) -> int:
        """Pairs so far."""
        return len(self._found)

    def of(self, new: Knowledge, old: Knowledge) -> Resemblance | None:
        """What a new item has in common with an old one."""
        if (new, old) not in self._found:
            self._found[new, old] = compared(self._read(new), self._read(old))
        return self._found[new, old]

    def prepare(self, pairs: Iterable[tuple[Knowledge, Knowledge]]) -> None:
        """Work some out before they are asked for."""
        for new, old in pairs:
            self.of(new, old)

    def _read(self, item: Knowledge) -> Reading:
        if item not in self._readings:
            self._readings[item] = Reading.of(item)
        return self._readings[item]


@dataclass(frozen=True)
class Nearest:
    """What new items are to be compared with, and what came of it so far."""

    numbers: list[list[int]]
    """Of the stored items, for each new one."""
    among_themselves: bool
    """Whether the new items are compared with each other too."""
    comparisons: Comparisons


async def nearest(workspace: Workspace, items: Sequence[NewItem], *, among_themselves: bool) -> Nearest:
    """The stored items that each new one is compared with, and the comparisons. Not for a transaction: a search may run
    a model, and many long texts take seconds to compare."""
    numbers = [await _candidates(workspace, item) for item in items]
    stored = await cognition.many(workspace.read, list({number: None for own in numbers for number in own}))
    known = {item.id: cognition.item_knowledge(item) for item in stored}
    pairs = [(item.knowledge, known[number]) for item, own in zip(items, numbers, strict=True) for number in own]
    if among_themselves:
        pairs += [(later.knowledge, earlier.knowledge) for earlier, later in combinations(items, 2)]
    comparisons = Comparisons()
    await asyncio.to_thread(comparisons.prepare, pairs)
    return Nearest(numbers, among_themselves, comparisons)


async def store(tx: Transaction, items: Sequence[NewItem], close: Nearest, *, merge: bool) -> Stored:
    """Store items, in the order given.

    Args:
        close: what `nearest` found for them.
        merge: whether near-duplicates become part of the older item.
    """
    stored = Stored()
    for place, (item, numbers) in enumerate(zip(items, close.numbers, strict=True), start=1):
        others = [*numbers, *(stored.added if close.among_themselves else ())]
        await _store_one(tx, place, item, others, stored, close.comparisons, merge=merge)
    return stored


async def _candidates(workspace: Workspace, item: NewItem) -> list[int]:
    # The domain '' is that of no item, so that knowledge for every domain is compared with its like alone.
    found = await workspace.documents.find(
        f"{item.title}\n{item.body}", "cognition", domain=item.domain or "", limit=REACH
    )
    same_source = await cognition.of_sources(workspace.read, item.knowledge.sources)
    return list(dict.fromkeys([*(hit.ref_id for hit in found.hits), *same_source]))


async def _store_one(
    tx: Transaction,
    place: int,
    item: NewItem,
    others: Sequence[int],
    stored: Stored,
    comparisons: Comparisons,
    *,
    merge: bool,
) -> None:
    if not merge:
        await cognition.set_apart(tx, item)
    if (number := await cognition.known(tx, item)) is not None:
        what = await cognition.merge(tx, number, item)
        if what.sources or what.tags:
            stored.merged.append(MergedInto(place, number, "the same title and body", what, ()))
        else:
            stored.known.append(number)
        return
    close, same = await _resembling(tx, item, others, comparisons)
    if same is not None and merge:
        stored.merged.append(await _merged(tx, place, item, *same))
        return
    number, _ = await cognition.add(tx, item)
    stored.added.append(number)
    if (nearest := same or close) is not None:
        stored.near.append(Near(number, *nearest))


async def _merged(tx: Transaction, place: int, item: NewItem, into: int, why: str) -> MergedInto:
    (old,) = await cognition.many(tx, [into])
    what = await cognition.merge(tx, into, item)
    lost = _lost_words(item.knowledge, cognition.item_knowledge(old), replaced=what.replaced)
    return MergedInto(place, into, why, what, lost)


async def _resembling(
    reader: Reader, item: NewItem, numbers: Sequence[int], comparisons: Comparisons
) -> tuple[tuple[int, str] | None, tuple[int, str] | None]:
    """(the first item that is close, the first that says the same), each with why, where a merge loses no reader.

    An item that was a lesson is one of the search's own, and no campaign without lessons sees it: nothing is merged
    into it.
    """
    close: tuple[int, str] | None = None
    for old in await cognition.many(reader, list(dict.fromkeys(numbers))):
        if old.domain not in (None, item.domain):
            continue
        found = comparisons.of(item.knowledge, cognition.item_knowledge(old))
        if found is not None and found.same and old.origin is not CognitionOrigin.LESSON:
            return close, (old.id, found.why)
        if found is not None and close is None:
            close = (old.id, found.why)
    return close, None


def _lost_words(new: Knowledge, old: Knowledge, *, replaced: bool) -> tuple[str, ...]:
    hidden, shown = (old, new) if replaced else (new, old)
    kept = set(words(shown.text))
    return tuple(dict.fromkeys(word for word in words(hidden.text) if word not in kept))
