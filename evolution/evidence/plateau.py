"""Whether the search still finds better nodes, measured against what mere luck would find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..statistics import staircase

State = Literal["improving", "plateau", "too early"]
LEAST = 10
"""Candidates below which nothing is said, and the shortest run without a new best that is a plateau."""
SHARE = 0.25
"""A plateau is as long as this share of the search: new bests get rarer as it goes on, also where all is well."""


class Plateau(NamedTuple):
    """Where the search is, and why that is said."""

    state: State
    reason: str


def plateau(scores: Sequence[float | None]) -> Plateau:
    """State of a search from the scores of its finished nodes in order; `None` is one without a score.

    A plateau is a stretch without a new best over the last quarter of the nodes, and at least ten. The yardstick is a
    search that has learned nothing, whose scores come in random order: its n-th is a new best with chance 1/n (Renyi
    1962), so that stretch would bring the sum of 1/i over it.
    """
    count = len(scores)
    found = staircase(scores)
    window = max(LEAST, math.ceil(SHARE * count))
    if count < LEAST:
        return Plateau("too early", f"{count} of the {LEAST} finished nodes below which nothing is said.")
    if found.best is None:
        return Plateau("too early", f"None of {count} finished nodes has a score.")
    recent = sum(place >= count - window for place, _ in found.steps[1:])
    if recent:
        many = "new best" if recent == 1 else "new bests"
        return Plateau("improving", f"{recent} {many} in the last {window} of {count} nodes; {_luck(count, window)}.")
    if found.since_best >= window:
        since = found.since_best
        return Plateau("plateau", f"No new best in the last {since} of {count} nodes; {_luck(count, since)}.")
    return Plateau("too early", f"No new best yet, but only {found.since_best} nodes since the first score.")


def _luck(count: int, window: int) -> str:
    expected = math.fsum(1 / place for place in range(max(count - window, 1) + 1, count + 1))
    return f"the same scores in random order would bring {expected:.1f} there on average"
