"""A score relative to the baseline: how much better a candidate is, in one of two forms.

sigmoid: sum(weight * sigmoid(gain / (scale * max(sd, min_sd)))) / sum(weight) - sum(weight * log2(value / above))
gain:    sum(weight * gain) / sum(weight)                                      - sum(weight * log2(value / above))

over the terms, and over the penalties whose value is above their bound. In deviations of the baseline's own seeds, the
sigmoid keeps one metric from carrying the whole score (so published for architectures, arXiv 2603.29640); the mean of
the baseline has exactly 0.5. A gain stays in units of the metric, where these say something; the baseline has 0.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .models import Metrics

Form = Literal["sigmoid", "gain"]
LARGEST_GAIN = sys.float_info.max / 4
"""So that a huge gain stays a number, also in a sum."""


@dataclass(frozen=True)
class Statistic:
    """What the baseline's runs came to in one metric at one stage."""

    mean: float
    sd: float
    """Standard deviation with n - 1; 0 with one seed, where it is not known."""
    by_seed: Mapping[int, float]


Statistics = Mapping[str, Statistic]
"""By the name of the metric."""


@dataclass(frozen=True)
class Term:
    """One metric whose gain over the baseline counts."""

    metric: str
    higher_is_better: bool
    weight: float
    min_sd: float = 0.0
    """The least deviation, over 0 in the form `sigmoid`; without meaning in the form `gain`, as `scale` is."""
    scale: float = 1.0


@dataclass(frozen=True)
class Penalty:
    """One metric that costs where it is above a bound."""

    metric: str
    above: float
    weight: float


@dataclass(frozen=True)
class Yardstick:
    """What the score of a stage is made of."""

    terms: tuple[Term, ...]
    penalties: tuple[Penalty, ...] = ()
    paired: bool = False
    """Against the baseline's run of the same seed, where there is one."""
    form: Form = "sigmoid"

    @property
    def metrics(self) -> list[str]:
        """What it reads of every run."""
        return list(dict.fromkeys([*(term.metric for term in self.terms), *(fine.metric for fine in self.penalties)]))

    def lacking(self, metrics: Metrics) -> str | None:
        """The first metric that it reads and a run does not tell as a finite number."""
        return next((name for name in self.metrics if not math.isfinite(metrics.get(name, math.nan))), None)

    def score(self, metrics: Metrics, baseline: Statistics, seed: int | None = None) -> float:
        """Of a run that lacks nothing.

        Args:
            baseline: has every metric of a term.
            seed: of the run, for a yardstick that is paired.
        """
        whole = math.fsum(term.weight for term in self.terms)
        worth = [
            term.weight / whole * self._worth(term, metrics[term.metric], baseline[term.metric], seed)
            for term in self.terms
        ]
        return math.fsum(worth) - math.fsum(_cost(fine, metrics[fine.metric]) for fine in self.penalties)

    def size(self, metrics: Mapping[str, float]) -> float:
        """How large the terms of a run are: what a gain in the form `gain` is large or small beside."""
        whole = math.fsum(term.weight for term in self.terms)
        return math.fsum(term.weight / whole * abs(metrics[term.metric]) for term in self.terms)

    def _worth(self, term: Term, value: float, known: Statistic, seed: int | None) -> float:
        pair = known.by_seed.get(seed) if self.paired and seed is not None else None
        gain = value - (known.mean if pair is None else pair)
        gain = gain if term.higher_is_better else -gain
        if self.form == "gain":
            return min(max(gain, -LARGEST_GAIN), LARGEST_GAIN)
        width = min(term.scale * max(known.sd, term.min_sd), sys.float_info.max)  # so that a huge gain stays a gain
        return sigmoid(gain / width)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1.0 + math.tanh(0.5 * x))


def _cost(fine: Penalty, value: float) -> float:
    return fine.weight * (math.log2(value) - math.log2(fine.above)) if value > fine.above else 0.0


def measured(runs: Mapping[int, Metrics]) -> dict[str, Statistic]:
    """Every metric over the seeds that tell it, from at least one run. What overflows is left out."""
    names = dict.fromkeys(name for metrics in runs.values() for name in metrics)
    found: dict[str, Statistic] = {}
    for name in names:
        by_seed = {seed: metrics[name] for seed, metrics in runs.items() if name in metrics}
        statistic = _statistic(by_seed)
        if statistic is not None:
            found[name] = statistic
    return found


def _statistic(by_seed: Mapping[int, float]) -> Statistic | None:
    values: Sequence[float] = list(by_seed.values())
    try:
        mean = statistics.fmean(values)
        deviation = math.hypot(*(value - mean for value in values))
    except OverflowError:
        return None
    sd = deviation / math.sqrt(len(values) - 1) if len(values) > 1 else 0.0
    return Statistic(mean, sd, dict(by_seed)) if math.isfinite(mean) and math.isfinite(sd) else None
