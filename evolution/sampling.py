"""Policies that choose which node to build on next, through a narrow view of the population, never its storage."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .errors import BadInput

UCB1_EXPLORATION = 1.414
"""Weight of the exploration term in the published system (arXiv 2603.29640)."""


class Member(NamedTuple):
    """A scored node as a policy sees it."""

    id: int
    score: float
    visits: int


class Choice(NamedTuple):
    """A chosen node and, in a few words, why it was chosen."""

    member: Member
    reason: str


class Population(Protocol):
    """The scored nodes of one campaign. Failed and running nodes are not in it."""

    async def size(self) -> int:
        """How many there are."""
        ...

    async def score_range(self) -> tuple[float, float] | None:
        """Lowest and highest score; `None` for an empty population."""
        ...

    async def total_visits(self) -> int:
        """How many parents the campaign has handed out."""
        ...

    async def best(self, count: int) -> list[Member]:
        """Highest score first, the older one first among equals."""
        ...

    async def best_per_visit_count(self, count: int) -> list[Member]:
        """For each number of visits that occurs, the `count` best nodes with that number, in any order."""
        ...

    async def at_rank(self, rank: int) -> Member:
        """The node at a position in order of age, from 0."""
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
        spread = highest - lowest
        quality = (member.score - lowest) / spread if spread > 0 else 0.0
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
    """The best score, always."""

    async def choose(self, population: Population, count: int, rng: random.Random) -> list[Choice]:  # noqa: ARG002
        """Deterministic: draws nothing from `rng`."""
        return [Choice(member, "greedy: highest score") for member in await population.best(count)]


@dataclass(frozen=True)
class Random:
    """Every scored node with the same chance."""

    async def choose(self, population: Population, count: int, rng: random.Random) -> list[Choice]:
        """Without replacement."""
        size = await population.size()
        ranks = rng.sample(range(size), min(count, size))
        return [Choice(await population.at_rank(rank), "random") for rank in ranks]


SAMPLERS: dict[str, Callable[[], Sampler]] = {"ucb1": UCB1, "greedy": Greedy, "random": Random}


def make_sampler(name: str) -> Sampler:
    """The policy of that name.

    Raises:
        BadInput: there is none.
    """
    if name not in SAMPLERS:
        raise BadInput(f"Expected sampler to be one of {', '.join(SAMPLERS)}, but got {name!r}.")
    return SAMPLERS[name]()
