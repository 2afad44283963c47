"""MAP-Elites on islands: cells over measures, ranges that grow, and the policy that draws from them.

Mouret and Clune 2015 (arXiv 1504.04909), with islands, migration in a ring and the shares of draws as in arXiv
2603.29640. Words as pyribs uses them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .sampling import Choice, Island, Member, Population, Random, normalised, share, weighted

LEAST_SHARE = 0.05
"""Where draws are weighted by score, what the worst has of the best's chance."""
MAX_MEASURES = 4

Source = Literal["metric", "complexity", "diversity"]


@dataclass(frozen=True)
class Measure:
    """One axis of the archive."""

    name: str
    source: Source
    low: float | None = None
    high: float | None = None
    """Both are set where the range is fixed."""

    @property
    def possible(self) -> Range | None:
        """Where its values can lie; `None` where nobody can tell."""
        return {"complexity": Range(0.0, math.inf), "diversity": Range(0.0, 1.0)}.get(self.source)


DEFAULT_MEASURES = (Measure("complexity", "complexity"), Measure("diversity", "diversity"))


@dataclass(frozen=True)
class ArchiveForm:
    """What an archive is built for. Another form of the same campaign means another archive."""

    measures: tuple[Measure, ...]
    islands: int
    bins: int

    @property
    def cells(self) -> int:
        """Of one island."""
        return self.bins ** len(self.measures)


class Range(NamedTuple):
    """What the bins of one measure divide."""

    low: float
    high: float

    def grown(self, value: float, within: Range | None = None) -> Range:
        """The range with a value in it. It doubles towards the value, so that bins move ever less often: about
        log2(last width / first width) times in the life of a campaign.

        Args:
            within: where values can lie at all. A bin outside could never be filled.
        """
        if self.low <= value <= self.high:
            return self
        low, high = self
        if low == high:
            return Range(min(low, value), max(high, value))
        width = high - low
        while not low <= value <= high and math.isfinite(width):
            width *= 2  # and not the ends by what lies between them: that can be less than the last digit of one
            low, high = (high - width, high) if value < low else (low, low + width)
        if not math.isfinite(low) or not math.isfinite(high) or not low <= value <= high:
            return Range(min(self.low, value), max(self.high, value))
        return Range(low, high) if within is None else Range(max(low, within.low), min(high, within.high))

    def bin_of(self, value: float, bins: int) -> int:
        """From 0 to `bins` - 1. What lies outside counts to the bin at the edge."""
        if value <= self.low or self.high == self.low:
            return 0
        if value >= self.high:
            return bins - 1
        # Halves, since the difference of two finite numbers can be infinite.
        return min(int((value / 2 - self.low / 2) / (self.high / 2 - self.low / 2) * bins), bins - 1)


def cell_of(values: Sequence[float], ranges: Sequence[Range], bins: int) -> int:
    """Number of the cell that these values fall into: its bins as digits, that of the first measure counting least."""
    digits = [bounds.bin_of(value, bins) for value, bounds in zip(values, ranges, strict=True)]
    return sum(digit * bins**place for place, digit in enumerate(digits))


def bins_of(cell: int, measures: int, bins: int) -> tuple[int, ...]:
    """The bins of a cell, that of the first measure first."""
    return tuple(cell // bins**place % bins for place in range(measures))


def emigrants(elites: int, rate: float) -> int:
    """How many elites of an island leave at a migration: the share, rounded up."""
    return math.ceil(elites * rate - 1e-9)


@dataclass(frozen=True)
class MapElites:
    """Islands take turns; on the one whose turn it is, any node, an elite, or a node weighted by its score.

    An island on which nobody lives yet borrows from the nearest one before it, and the child settles there: so every
    island begins with the baseline, as in the published system.
    """

    exploration: float = 0.2
    exploitation: float = 0.6

    async def choose(self, population: Population, count: int, rng: random.Random) -> list[Choice]:
        """The parent, then other elites of its island, then the best of the others."""
        islands = population.islands()
        number = await population.total_visits() % max(len(islands), 1)
        lender = await _lender(islands, number)
        if lender is None:
            any_of_all = await Random().choose(population, count, rng)
            return [choice._replace(reason="map_elites: no island has a node yet") for choice in any_of_all]
        parent, how = await self._parent(islands[lender], population, rng)
        where = f"island {number}" if lender == number else f"island {number}, which begins with one of {lender}"
        elites = await weighted(islands[lender].elites, lambda _: 1.0, count, rng)
        others = {member.id: member for member in [*elites, *await population.best(count)] if member.id != parent.id}
        return [
            Choice(parent, f"map_elites: {where}, {how}", number),
            *(Choice(member, "map_elites: context") for member in list(others.values())[: count - 1]),
        ]

    async def _parent(self, island: Island, population: Population, rng: random.Random) -> tuple[Member, str]:
        at_work = await population.in_flight()
        turn = rng.random()
        if turn < self.exploration:
            found = await weighted(island.nodes, lambda member: share(at_work, member), 1, rng)
            return found[0], "exploration: any of its nodes"
        if turn < self.exploration + self.exploitation:
            found = await weighted(island.elites, lambda member: share(at_work, member), 1, rng)
            if found:
                return found[0], "exploitation: an elite"
        lowest, highest = await population.score_range() or (0.0, 0.0)

        def by_score(member: Member) -> float:
            quality = min(max(normalised(member.score, lowest, highest), LEAST_SHARE), 1.0)
            return share(at_work, member) * quality

        return (await weighted(island.nodes, by_score, 1, rng))[0], "weighted by score"


async def _lender(islands: Sequence[Island], number: int) -> int | None:
    """The first island with a node, going back around the ring."""
    for step in range(len(islands)):
        place = (number - step) % len(islands)
        if await islands[place].nodes.best(1):
            return place
    return None
