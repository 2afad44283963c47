"""Numbers about scores: mean with its standard error, robust spread, and whether the search still moves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Mean(NamedTuple):
    """Arithmetic mean, and its standard error (`None` below two values)."""

    value: float
    stderr: float | None
    seeds: int


def mean(values: Sequence[float]) -> Mean:
    """Mean of at least one value; the standard error is s / sqrt(n) with s over n - 1."""
    count = len(values)
    try:
        average = math.fsum(values) / count
    except OverflowError:  # a penalty such as 1e308 is a score too
        average = math.fsum(value / count for value in values)
    if count < 2:
        return Mean(average, None, count)
    deviation = math.hypot(*(value - average for value in values))
    return Mean(average, deviation / math.sqrt(count * (count - 1)), count)


class RobustSpread(NamedTuple):
    """Where most values lie, whatever a minority of them says."""

    median: float
    deviation: float
    """1.4826 times the median absolute deviation: of normal values, their standard deviation."""


def robust_spread(values: Sequence[float]) -> RobustSpread:
    """Median and robust deviation of at least one value; infinite where the numbers overflow."""
    median = statistics.median(values)
    return RobustSpread(median, 1.4826 * statistics.median([abs(value - median) for value in values]))


class Staircase(NamedTuple):
    """How the best score rose over the finished candidates, in order."""

    best: float | None
    since_best: int
    """Candidates that finished after the best one, whatever their outcome."""
    steps: list[tuple[int, float]]
    """(position, score) of each candidate that beat all before it."""


def staircase(scores: Sequence[float | None]) -> Staircase:
    """Walk the scores of finished candidates in order; `None` is one without a score."""
    best: float | None = None
    steps: list[tuple[int, float]] = []
    for position, score in enumerate(scores):
        if score is not None and (best is None or score > best):
            best = score
            steps.append((position, score))
    since = len(scores) - 1 - steps[-1][0] if steps else len(scores)
    return Staircase(best, since, steps)
