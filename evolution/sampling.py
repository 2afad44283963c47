"""Policies that choose which node to build on next, through a narrow view of the population, never its storage.

A node that somebody is working on (`Population.in_flight`) is less likely to be handed out again. For `random` and
`map_elites` its chance is divided by one more than the number of those at work (virtual visits, as in parallel tree
search: Chaslot, Winands and van den Herik 2008); `greedy` takes it only when nothing less worked on is left; for `ucb1`
the draw itself is a visit, counted before anybody else draws.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from .models import SamplingOptions

UCB1_EXPLORATION = 1.414
"""Weight of the exploration term in the published system (arXiv 2603.29640)."""
FEW = 64
"""A pool smaller than this is looked at whole; a larger one is drawn from by rejection."""
BATCH = 16
"""Members fetched at once for rejection."""


class Member(NamedTuple):
    """A scored node as a policy sees it."""

    id: int
    score: float
    visits: int


class Choice(NamedTuple):
    """A chosen node and, in a few words, why it was chosen."""

    member: Member
    reason: str
    island: int | None = None
    """The one that a child of this node will belong to; `None` lets its lineage decide."""


class Pool(Protocol):
    """Some scored nodes to draw from."""

    async def best(self, count: int) -> list[Member]:
        """Highest score first, the older one first among equals."""
        ...

    async def some(self, count: int, rng: random.Random) -> list[Member]:
        """At least one, at most `count`, each drawn with the same chance, with replacement. Not to be asked of an
        empty pool."""
        ...


class Island(Protocol):
    """A part of the population of a campaign that keeps an archive (MAP-Elites)."""

    @property
    def nodes(self) -> Pool:
        """All that live there, immigrants too."""
        ...

    @property
    def elites(self) -> Pool:
        """The best of each of its cells."""
        ...


class Population(Pool, Protocol):
    """The scored nodes of one campaign. Failed, held and running nodes are not in it."""

    async def score_range(self) -> tuple[float, float] | None:
        """Lowest and highest score; `None` for an empty population."""
        ...

    async def total_visits(self) -> int:
        """How many parents the campaign has handed out."""
        ...

    async def best_per_visit_count(self, count: int) -> list[Member]:
        """For each number of visits that occurs, the `count` best nodes with that number, in any order."""
        ...

    async def in_flight(self) -> Mapping[int, int]:
        """Node to how many are working on it now; a node that is not named has nobody."""
        ...

    def top(self, count: int | None) -> Self:
        """The same, without the nodes beyond so many best ones; `None` takes nothing away."""
        ...

    def islands(self) -> Sequence[Island]:
        """Those of its archive; none where the campaign keeps no archive."""
        ...


class Sampler(Protocol):
    """A policy. `choose` returns at most `count` distinct nodes, the one to build on first."""

    async def choose(self, population: Population, count: int, rng: random.Random) -> list[Choice]:
        """Choose from a population; an empty one gives an empty list."""
        ...


@dataclass(frozen=True)
class UCB1:
    """Upper confidence bound: nodes never visited first, then the highest value of

        (score - lowest) / (highest - lowest) + c * sqrt(ln(total visits) / visits)

    (Auer, Cesa-Bianchi and Fischer 2002, with the score min-max normalised as in arXiv 2603.29640). For one number of
    visits the value grows with the score, so the best few of each number of visits hold the best few of all: no scan.
    """

    exploration: float = UCB1_EXPLORATION

    async def choose(self, population: Population, count: int, rng: random.Random) -> list[Choice]:  # noqa: ARG002
        """Deterministic: draws nothing from `rng`."""
        score_range = await population.score_range()
        if score_range is None:
            return []
        lowest, highest = score_range
        total = await population.total_visits()
        ranked = sorted(
            (self._rank(member, lowest, highest, total), member)
            for member in await population.best_per_visit_count(count)
        )
        return [Choice(member, self._reason(member, -rank[1])) for rank, member in ranked[:count]]

    def value(self, member: Member, lowest: float, highest: float, total_visits: int) -> float:
        """UCB1 value of a visited node."""
        quality = normalised(member.score, lowest, highest)
        return quality + self.exploration * math.sqrt(math.log(max(total_visits, 1)) / member.visits)

    def _rank(self, member: Member, lowest: float, highest: float, total: int) -> tuple[int, float, int]:
        if member.visits == 0:
            return (0, -member.score, member.id)
        return (1, -self.value(member, lowest, highest, total), member.id)

    def _reason(self, member: Member, value: float) -> str:
        if member.visits == 0:
            return "ucb1: not built on yet"
        return f"ucb1: value {value:.3f} after {member.visits} visits"


@dataclass(frozen=True)
class Greedy:
    """The best score of those that the fewest are working on."""

    async def choose(self, population: Population, count: int, rng: random.Random) -> list[Choice]:  # noqa: ARG002
        """Deterministic: draws nothing from `rng`."""
        at_work = await population.in_flight()
        members = await population.best(count + len(at_work))  # so many hold `count` that nobody works on
        members.sort(key=lambda member: (at_work.get(member.id, 0), -member.score, member.id))
        return [Choice(member, self._reason(at_work.get(member.id, 0))) for member in members[:count]]

    def _reason(self, at_work: int) -> str:
        return "greedy: highest score" + (f", though {at_work} work on it" if at_work else "")


@dataclass(frozen=True)
class Random:
    """Every scored node with the same chance, those in flight with less."""

    async def choose(self, population: Population, count: int, rng: random.Random) -> list[Choice]:
        """Without replacement."""
        at_work = await population.in_flight()
        members = await weighted(population, lambda member: share(at_work, member), count, rng)
        return [Choice(member, "random") for member in members]


def share(at_work: Mapping[int, int], member: Member) -> float:
    """What is left of a node's chance while somebody works on it."""
    return 1 / (1 + at_work.get(member.id, 0))


def normalised(score: float, lowest: float, highest: float) -> float:
    """Where a score lies in its range, 0 to 1; 0 where all are equal."""
    spread = highest - lowest
    return (score - lowest) / spread if spread > 0 else 0.0


async def weighted(pool: Pool, weight: Callable[[Member], float], count: int, rng: random.Random) -> list[Member]:
    """Distinct members, one after the other, each with a chance in proportion to its weight (above 0, at most 1).

    A small pool is weighed whole. From a large one members are drawn with equal chances and kept with a chance equal to
    their weight (rejection sampling, von Neumann 1951), which comes to the same and looks at few of them.
    """
    few = await pool.best(max(FEW, 2 * count))
    chosen: dict[int, Member] = {}
    if len(few) < max(FEW, 2 * count):
        while few and len(chosen) < count:
            (member,) = rng.choices(few, [weight(member) for member in few])
            few.remove(member)
            chosen[member.id] = member
    else:
        while len(chosen) < count:
            for member in await pool.some(BATCH, rng):
                if len(chosen) < count and member.id not in chosen and rng.random() < weight(member):
                    chosen[member.id] = member
    return list(chosen.values())


async def draw(
    sampler: Sampler, population: Population, options: SamplingOptions, references: int, rng: random.Random
) -> list[Choice]:
    """One parent, then at most so many references. Nothing where nothing has scored."""
    living = population.top(options.population_cap)
    if options.parent_pool is None and options.reference_pool is None:
        return await sampler.choose(living, 1 + references, rng)
    chosen = (await sampler.choose(living.top(options.parent_pool), 1, rng))[:1]
    if not chosen:
        return []
    if options.reference_pool is None:
        context = await sampler.choose(living, 1 + references, rng)
    else:
        members = await weighted(living.top(options.reference_pool), lambda _: 1.0, 1 + references, rng)
        context = [Choice(member, f"one of the best {options.reference_pool}") for member in members]
    others = [choice for choice in context if choice.member.id != chosen[0].member.id]
    return chosen + others[:references]
