"""Where designs come from: prior knowledge, the search's own experience, both or neither, and what knowledge was worth.

A candidate belongs to exactly one of four classes by the ids that it names in `inspired_by`. Published for the system
we implement (arXiv 2603.29640) are three shares of one whole; to compare with them, one that names both counts half for
each (`Origins.shares`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .statistics import Mean

BEST_SHARE = 0.1
FEWEST_BEST = 5
LEAST_RETRIEVALS = 3
"""Fewer answers than these may just not have been the right moment."""
LEAST_USERS = 2
"""One user's luck says nothing about an item."""


@dataclass(frozen=True)
class Origins:
    """How many candidates name only cognition, only experience, both or neither."""

    cognition: int = 0
    experience: int = 0
    both: int = 0
    neither: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.cognition + self.experience + self.both + self.neither

    def shares(self) -> tuple[float, float, float] | None:
        """Parts of 1 that come from cognition, experience and neither; one of both is half of each. `None` for none."""
        if not self.total:
            return None
        half = self.both / 2
        return (
            (self.cognition + half) / self.total,
            (self.experience + half) / self.total,
            self.neither / self.total,
        )


def best_count(scored: int) -> int:
    """How many of so many scored candidates are "the best": a tenth, rounded up, but at least five where there are."""
    return min(scored, max(FEWEST_BEST, math.ceil(BEST_SHARE * scored)))


@dataclass(frozen=True)
class ItemUse:
    """What became of one cognition item in a campaign."""

    id: int
    title: str
    origin: str
    retrieved: int
    """Answers that showed it."""
    used: int
    """Candidates that name it."""
    failed: int
    """Of these, those that ended without a score by their own fault."""
    gain: Mean | None
    """Score minus the edited parent's, over those of them where both scored at the same stage."""


def never_used(items: Sequence[ItemUse], count: int) -> list[ItemUse]:
    """Items that were shown at least `LEAST_RETRIEVALS` times and that nobody named, the most shown first."""
    idle = [item for item in items if not item.used and item.retrieved >= LEAST_RETRIEVALS]
    return sorted(idle, key=lambda item: (-item.retrieved, item.id))[:count]


def most_helpful(items: Sequence[ItemUse], count: int) -> list[ItemUse]:
    """Items whose users scored more than their parents by more than one standard error, the surest gain first.

    Ordered by mean minus standard error, over at least `LEAST_USERS` users: no claim rests on one.
    """
    sure = [(bound, item) for item in items if (bound := _surely(item)) is not None and bound > 0]
    return [item for _, item in sorted(sure, key=lambda pair: (-pair[0], pair[1].id))[:count]]


def _surely(item: ItemUse) -> float | None:
    gain = item.gain
    if gain is None or gain.seeds < LEAST_USERS or gain.stderr is None:
        return None
    return gain.value - gain.stderr
