"""Which design choices went with gains over the parent: ridge regression on tags, with bootstrap intervals."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..statistics import Interval, mean, share_interval, t_quantile

LEAST_STEPS = 10
"""Below so many observations nothing is claimed."""
LEAST_OF_A_TAG = 3
"""Children with a tag, and without it."""
MOST_TAGS = 30
"""The most frequent ones go into the regression."""
RESAMPLES = 1000
PENALTIES = 13
"""Tried, from a thousandth of the number of observations to that number, which shrinks an effect by half where tags do
not overlap. Larger ones fit best where nothing has an effect, but their short intervals would look like certainty."""
ROUNDING = 1e-12
LARGEST = 1e300


@dataclass(frozen=True)
class Step:
    """From a parent to its child."""

    tags: frozenset[str]
    """Design choices that the child has and the parent lacks: what it inherited cannot explain the gain."""
    gain: float | None
    """Child minus parent at one stage, over shared seeds where there are some; `None` without both scores."""
    failed: bool
    """By the fault of the candidate. A failure has no gain, so it is counted apart."""


Verdict = Literal["helped", "hurt", "not told apart"]


@dataclass(frozen=True)
class Effect:
    """How gains with a tag differ from gains without it, the other tags being equal."""

    tag: str
    children: int
    effect: float
    interval: Interval
    mean_gain: float
    """Of the children with the tag, whatever else they have."""

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say."""
        if not self.interval.excludes_zero:
            return "not told apart"
        return "helped" if self.effect > 0 else "hurt"


@dataclass(frozen=True)
class FailureShare:
    """How many children with a tag failed."""

    tag: str
    failed: int
    children: int
    interval: Interval
    """Of the chance to fail (Wilson 1927)."""


def effects(steps: Sequence[Step], seed: int) -> list[Effect]:
    """Effect of each tag that enough children have, the largest first; none below `LEAST_STEPS` gains.

    Ridge regression (Hoerl and Kennard 1970) of the gains on standardised tag indicators with an intercept. The penalty
    is that with the least leave-one-out error (PRESS, Allen 1974). Intervals: the standard error over `RESAMPLES`
    bootstrap samples of steps (Efron 1979) with that penalty, times Student's t and sqrt(k / (k - 1)) for the k
    children on the smaller side of a tag: percentiles would be far too short for three children (Hesterberg 2015). An
    effect is an association and shrunk towards 0; other choices that always come with a tag share it.

    Args:
        seed: of the resampling; the order of steps and tags does not matter.
    """
    # In one order, so that each step meets the same draws.
    gained = sorted((tuple(sorted(step.tags)), step.gain) for step in steps if step.gain is not None)
    gains = [gain for _, gain in gained]
    if len(gained) < LEAST_STEPS or not _vary(gains):
        return []
    tags = _frequent([tags for tags, _ in gained])
    if not tags:
        return []
    has = [[tag in row for tag in tags] for row, _ in gained]
    found = _ridge(has, gains, seed)
    listed = [
        Effect(tag, sum(column), effect, Interval(effect - reach, effect + reach), _mean_where(column, gains))
        for tag, column, (effect, reach) in zip(tags, zip(*has, strict=True), found, strict=True)
    ]
    return sorted(listed, key=lambda entry: (-entry.effect, entry.tag))


def failures(steps: Sequence[Step]) -> list[FailureShare]:
    """Share of failures of each tag that enough children have, the largest first; none below `LEAST_STEPS` steps."""
    if len(steps) < LEAST_STEPS:
        return []
    tried = Counter(tag for step in steps for tag in step.tags)
    failed = Counter(tag for step in steps if step.failed for tag in step.tags)
    listed = [
        FailureShare(tag, failed[tag], count, share_interval(failed[tag], count))
        for tag, count in tried.items()
        if count >= LEAST_OF_A_TAG
    ]
    return sorted(listed, key=lambda entry: (-entry.failed / entry.children, -entry.children, entry.tag))


def _vary(gains: Sequence[float]) -> bool:
    """Whether there is anything to explain, in numbers that can be added up: a penalty of -1e308 is a score too."""
    return ROUNDING * max(map(abs, gains)) < max(gains) - min(gains) < LARGEST


def _frequent(rows: Sequence[Sequence[str]]) -> list[str]:
    """Tags that enough children have and enough lack, the most frequent ones, in order of the alphabet."""
    counts = Counter(tag for row in rows for tag in row)
    told = [tag for tag, count in counts.items() if LEAST_OF_A_TAG <= count <= len(rows) - LEAST_OF_A_TAG]
    return sorted(sorted(told, key=lambda tag: (-counts[tag], tag))[:MOST_TAGS])


def _mean_where(column: Sequence[bool], gains: Sequence[float]) -> float:
    return mean([gain for gain, has in zip(gains, column, strict=True) if has]).value


def _ridge(has: Sequence[Sequence[bool]], gains: Sequence[float], seed: int) -> list[tuple[float, float]]:
    """(effect, half of its interval) of each column, in units of the gains."""
    np: Any = importlib.import_module("numpy")
    x, y = np.array(has, dtype=float), np.array(gains)
    scale = float(np.abs(y).max())
    y = y / scale
    count = len(y)
    penalty = _least_leave_one_out(np, x, y)
    whole = _fit(np, x, y, np.ones((1, count)), penalty)[0]
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    errors = np.nanstd(_fit(np, x, y, draws.astype(float), penalty), axis=0, ddof=1)
    smaller = np.minimum(x.sum(axis=0), count - x.sum(axis=0))
    factors = [t_quantile(side - 1) * math.sqrt(side / (side - 1)) for side in smaller.tolist()]
    return [
        (effect * scale, factor * error * scale)
        for effect, factor, error in zip(whole.tolist(), factors, errors.tolist(), strict=True)
    ]


def _fit(np: Any, x: Any, y: Any, weights: Any, penalty: float) -> Any:
    """Ridge coefficients of raw indicators for each row of `weights` (how often each step counts): samples x tags.

    A tag that a sample has not at all, or always, has no coefficient there (NaN).
    """
    count, tags = x.shape
    means, level = weights @ x / count, weights @ y / count
    products = (x[:, :, None] * x[:, None, :]).reshape(count, tags * tags)
    covariances = (weights @ products).reshape(-1, tags, tags) / count - means[:, :, None] * means[:, None, :]
    with_gain = weights @ (x * y[:, None]) / count - means * level[:, None]
    variances = means * (1 - means)  # of an indicator
    varies = variances > ROUNDING
    deviations = np.where(varies, np.sqrt(np.maximum(variances, 0)), 1.0)
    correlations = covariances / (deviations[:, :, None] * deviations[:, None, :])
    left = count * correlations + penalty * np.eye(tags)
    standardised = np.linalg.solve(left, (count * with_gain / deviations)[:, :, None])[:, :, 0]
    return np.where(varies, standardised / deviations, np.nan)


def _least_leave_one_out(np: Any, x: Any, y: Any) -> float:
    """The penalty with the least squared error on steps that were left out."""
    count = len(y)
    standardised = (x - x.mean(axis=0)) / x.std(axis=0)
    centred = y - y.mean()
    left, sizes, _ = np.linalg.svd(standardised, full_matrices=False)
    penalties = count * np.logspace(-3, 0, PENALTIES)
    kept = sizes**2 / (sizes**2 + penalties[:, None])  # penalties x directions
    fitted = (kept * (left.T @ centred)) @ left.T
    leverages = 1 / count + kept @ (left**2).T
    errors = ((centred - fitted) / np.maximum(1 - leverages, ROUNDING)) ** 2
    return float(penalties[np.argmin(errors.sum(axis=1))])
