"""Samplers by name: those of this package, and those that other packages announce under `asi_evolve.samplers`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from ..database import nodes
from ..database.connection import Reader
from ..evolution.errors import BadInput, NotFound, SamplerError
from ..evolution.models import SamplingOptions
from ..evolution.samplers import SAMPLERS, make_sampler
from ..evolution.sampling import Choice, Member, Population, Sampler
from ..evolution.text import excerpt

ENTRY_POINT_GROUP = "asi_evolve.samplers"
PATIENCE_S = 10.0
"""How long an installed sampler may take for one choice: the database is locked meanwhile."""


def sampler_names() -> list[str]:
    """Every sampler that a campaign can have. An installed one may be broken."""
    return list(dict.fromkeys([*SAMPLERS, *_announced()]))


def find_sampler(name: str, options: SamplingOptions) -> Sampler:
    """The sampler of that name, made for these options.

    Raises:
        BadInput: there is none.
        SamplerError: the package that announces it cannot be loaded, or its factory fails.
    """
    if name in SAMPLERS:
        return make_sampler(name, options)
    announced = _announced()
    if name not in announced:
        raise BadInput(
            f"Expected sampler to be one of {', '.join(sampler_names())}, but got {excerpt(repr(name), 80)}."
        )
    try:
        factory = cast("Callable[[SamplingOptions], Sampler]", announced[name].load())
        sampler = factory(options)
    except Exception as error:
        raise _failed(name, f"cannot be made: {error!r}") from error
    if not callable(getattr(sampler, "choose", None)):
        raise _failed(name, f"has no method choose: its factory returned {sampler!r}")
    return Installed(name, sampler)


def _announced() -> dict[str, Any]:
    from importlib.metadata import entry_points  # only here: it looks through every installed package

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _failed(name: str, what: str) -> SamplerError:
    return SamplerError(
        f"Sampler {name} {excerpt(what, 400)}. Nothing was stored. Mend or upgrade the package that brings it, or "
        f"choose another sampler out of {', '.join(SAMPLERS)}."
    )


@dataclass(frozen=True)
class Installed:
    """A sampler of another package: whatever it does wrong is told, and nothing of it is stored."""

    name: str
    sampler: Sampler

    async def choose(self, population: Population, count: int, rng: random.Random) -> list[Choice]:
        """What the sampler chose, checked for its form.

        Raises:
            SamplerError: it raised, took too long, or returned something else than choices.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                chosen: Any = await self.sampler.choose(population, count, rng)
        except TimeoutError as error:
            raise _failed(self.name, f"took more than {PATIENCE_S:.0f} s for one choice") from error
        except Exception as error:
            raise _failed(self.name, f"failed: {error!r}") from error
        if not isinstance(chosen, list):
            raise _failed(self.name, f"returned {chosen!r} where a list of Choice was expected")
        choices = [self._checked(entry) for entry in cast("list[Any]", chosen)]
        if len({choice.member.id for choice in choices}) < len(choices):
            raise _failed(self.name, "chose the same node twice")
        return choices[:count]

    def _checked(self, entry: Any) -> Choice:
        if not isinstance(entry, Choice) or not isinstance(cast("Any", entry.member), Member):
            raise _failed(self.name, f"returned {entry!r} among its choices, where a Choice of a Member was expected")
        if not isinstance(cast("Any", entry.reason), str) or type(entry.member.id) is not int:
            raise _failed(self.name, f"returned {entry!r}, whose reason is no text or whose member has no number")
        return Choice(entry.member, f"{self.name}: {excerpt(entry.reason, 200)}")


async def check_membership(reader: Reader, campaign_id: int, name: str, choices: list[Choice]) -> None:
    """Only scored nodes of the campaign can be handed out by a sampler of another package.

    Raises:
        SamplerError: it made one up, or took one that has no score.
    """
    try:
        found = await nodes.many(reader, [choice.member.id for choice in choices])
    except NotFound as error:
        raise _failed(name, f"chose a node that does not exist: {error}") from error
    for node in found:
        if node.campaign_id != campaign_id or node.score is None:
            raise _failed(name, f"chose n{node.id}, which is not among the scored nodes of c{campaign_id}")
