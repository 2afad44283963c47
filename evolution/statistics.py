"""Numbers about scores: mean with its standard error, intervals, robust spread, and the staircase of best scores."""

from __future__ import annotations

import importlib
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 0.95
"""Of every interval, two-sided."""


class Interval(NamedTuple):
    """A two-sided confidence interval."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of 0."""
        return self.low > 0 or self.high < 0


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
        largest = max(map(abs, values))
        average = math.fsum(value / largest for value in values) / count * largest
    if count < 2:
        return Mean(average, None, count)
    deviation = math.hypot(*(value - average for value in values))
    return Mean(average, deviation / math.sqrt(count * (count - 1)), count)


def t_quantile(degrees: float) -> float:
    """How many standard errors a two-sided interval of Student's t reaches to each side (Student 1908)."""
    special = importlib.import_module("scipy.special")  # half a second, so only once it is needed
    return float(special.stdtrit(degrees, 0.5 + CONFIDENCE / 2))


def share_interval(count: int, tries: int) -> Interval:
    """Interval of the chance behind `count` of at least one `tries` (Wilson 1927)."""
    z = statistics.NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    share, weight = count / tries, z * z / tries
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / tries + weight / (4 * tries)) / (1 + weight)
    return Interval(max(middle - reach, 0.0), min(middle + reach, 1.0))


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
