"""The honest baseline of a search: the best that as many tries straight from the baseline would have found."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..statistics import CONFIDENCE, Interval

LEAST_TRIES = 10
RESAMPLES = 1000


@dataclass(frozen=True)
class BestOf:
    """What the best of so many draws is expected to score."""

    expected: float
    interval: Interval
    """Of the expectation, over bootstrap samples of the tries. Too short at the end of a distribution."""


def best_of(tries: Sequence[float | None], baseline: float, draws: int, seed: int) -> BestOf | None:
    """Expected best of `draws` tries from the baseline, with replacement from those seen; `None` below `LEAST_TRIES`.

    The expected maximum of n draws from the sorted scores x(1) to x(m) is the sum of x(i) ((i/m)^n - ((i-1)/m)^n); the
    interval is that of the percentile bootstrap (Efron 1979). No draw can be better than the best try seen, so both are
    too low where the draws are many: a bootstrap does not reach beyond the extremes of a sample (Bickel and Freedman
    1981). It covers the truth in 85 % of cases for 5 draws from 40 normal tries, and in 43 % for 20 draws from 20.

    Args:
        tries: score of each try; `None` is one that failed, and finds nothing.
        baseline: what the search had before, so the least that comes out.
    """
    if len(tries) < LEAST_TRIES:
        return None
    np: Any = importlib.import_module("numpy")
    count = len(tries)
    scores = np.sort([baseline if score is None else max(score, baseline) for score in tries])
    steps = (np.arange(count + 1) / count) ** draws
    weights = np.diff(steps)
    picks = np.sort(np.random.default_rng(seed).integers(count, size=(RESAMPLES, count)), axis=1)
    expectations = scores[picks] @ weights
    low, high = np.quantile(expectations, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    return BestOf(float(scores @ weights), Interval(low, high))
