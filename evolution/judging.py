"""What a judge's marks are worth: from marks to a quality, and from metric and quality to one score."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple, get_args

from .errors import BadInput
from .statistics import Mean
from .text import excerpt, inert

Judge = Literal["agent", "endpoint"]
"""Who gave marks: the agent that works on the campaign, or the configured endpoint."""
JUDGES: tuple[Judge, ...] = get_args(Judge)


class Weighing(NamedTuple):
    """How much a judge counts beside the metric."""

    weight: float
    """r, from 0 (the metric alone) to 1 (the judge alone)."""
    worst: float
    """What the lowest mark in every criterion is worth, in units of the score."""
    best: float

    def combined(self, metric: Mean, quality: float | None) -> Mean:
        """The score of a node: (1 - r) * metric + r * judge (arXiv 2603.29640), and its standard error.

        Args:
            metric: over the seeds, higher is better.
            quality: 0 to 1; `None` where nobody has judged yet. That counts as 0, so that waiting for a judgement never
                ranks above having one.
        """
        worth = between(self.worst, self.best, quality or 0.0)
        stderr = metric.stderr * (1 - self.weight) if metric.stderr is not None else None
        return Mean(between(metric.value, worth, self.weight), stderr, metric.seeds)


def between(start: float, end: float, share: float) -> float:
    """(1 - share) * start + share * end, for a share from 0 to 1; rounding never leads out of the interval, so finite
    ends give a finite number."""
    return min(max((1 - share) * start + share * end, min(start, end)), max(start, end))


def quality(marks: Mapping[str, float], weights: Mapping[str, float], scale: tuple[float, float]) -> float:
    """The weighted mean of marks as a share of the scale: 0 where all are the lowest, 1 where all are the highest.

    Args:
        marks: criterion to mark, on the scale; the criteria are those of `weights`.
        weights: criterion to a positive weight.
    """
    lowest, highest = scale
    heaviest = max(weights.values())  # weights are taken relative to it, so that their sum cannot overflow
    shares = {name: (marks[name] - lowest) / (highest - lowest) for name in weights}
    total = math.fsum(weight / heaviest for weight in weights.values())
    return min(max(math.fsum(shares[name] * (weights[name] / heaviest) for name in weights) / total, 0.0), 1.0)


def checked_marks(
    marks: Mapping[str, object], criteria: Collection[str], scale: tuple[float, float]
) -> dict[str, float]:
    """Marks that somebody gave, in the order of the criteria.

    Raises:
        BadInput: a criterion is missing or unknown, or a mark is no number on the scale.
    """
    lowest, highest = scale
    demanded = f"a mark from {lowest:g} to {highest:g} for each of {', '.join(criteria)}"
    if missing := [name for name in criteria if name not in marks]:
        raise BadInput(f"Expected {demanded}, but got none for {', '.join(missing)}. Mark every criterion.")
    if unknown := [name for name in marks if name not in criteria]:
        raise BadInput(f"Expected {demanded}, but the rubric has no {excerpt(inert(unknown[0]), 80)!r}. Leave it out.")
    return {name: _checked_mark(name, marks[name], scale) for name in criteria}


def _checked_mark(name: str, mark: object, scale: tuple[float, float]) -> float:
    """NaN fails the comparison, and an integer of any size passes it exactly."""
    lowest, highest = scale
    if isinstance(mark, bool) or not isinstance(mark, (int, float)) or not lowest <= mark <= highest:
        got = excerpt(inert(str(mark)), 40) if not isinstance(mark, int) or abs(mark) < 10**40 else "a huge number"
        raise BadInput(f"Expected the mark for {name} to be a number from {lowest:g} to {highest:g}, but got {got}.")
    return float(mark)
