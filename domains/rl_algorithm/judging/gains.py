"""How much better than the baseline: differences in pass@1, run by run, with Student's t interval of their mean.

Runs of the same regime and the same inner seed begin with the same weights, draw the same prompts and are judged on the
same held-out ones; much of the luck is in both and cancels. The interval is Student's (Biometrika 1908) over all n runs
of the experiment, with n - 1 degrees of freedom, of 95 %: it takes the gains as draws of one distribution, although
regimes differ in theirs, which makes it wider and not shorter. It knows of no other seeds than those that ran, and of
nothing that the same candidate was chosen from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from judging.forms import Run

CONFIDENCE = 0.95


class Baseline(NamedTuple):
    """What is known of the baseline in one metric."""

    mean: float
    sd: float
    seeds: int
    same_seed: float | None
    """With the seed of this run, where it has run with that."""

    @property
    def partner(self) -> float:
        """What a value is compared with."""
        return self.mean if self.same_seed is None else self.same_seed


class Gain(NamedTuple):
    """One run against the baseline's run of the same regime and inner seed."""

    regime: str
    seed: int
    value: float
    """pass@1 minus pass@1."""


class Interval(NamedTuple):
    """Mean with its two-sided interval."""

    mean: float
    low: float
    high: float
    sd: float
    runs: int


def read_baseline(told: Any) -> dict[str, Baseline]:
    """`params.json["baseline"]`; metrics without a finite mean are left out."""
    known: dict[str, Baseline] = {}
    for name, figures in (told or {}).items():
        mean, sd, seeds, same = (figures.get(key) for key in ("mean", "sd", "seeds", "same_seed"))
        if mean is None or not math.isfinite(mean):
            continue
        known[name] = Baseline(float(mean), float(sd or 0.0), int(seeds or 0), None if same is None else float(same))
    return known


def run_metric(run: Run, seeds: Sequence[int]) -> str:
    """The name of the metric that holds pass@1 of one run."""
    return f"pass_at_1_{run.regime}_{list(seeds).index(run.seed)}"


def paired_gains(runs: Sequence[Run], seeds: Sequence[int], baseline: Mapping[str, Baseline]) -> list[Gain]:
    """One for each run; empty where the baseline has not run with the seed of this experiment."""
    gains: list[Gain] = []
    for run in runs:
        known = baseline.get(run_metric(run, seeds))
        if known is None or known.same_seed is None:
            return []
        gains.append(Gain(run.regime, run.seed, run.pass_at_1 - known.same_seed))
    return gains


def interval(gains: Sequence[float]) -> Interval | None:
    """Of the mean; None for fewer than two, and where all are equal, which says nothing of other seeds."""
    count = len(gains)
    if count < 2 or max(gains) == min(gains):
        return None
    mean = math.fsum(gains) / count
    sd = math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / (count - 1))
    reach = t_quantile(count - 1) * sd / math.sqrt(count)
    return Interval(mean, mean - reach, mean + reach, sd, count)


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """How many standard errors the two-sided interval reaches to each side, by bisection."""
    low, high = 0.0, 1.0
    while t_within(high, degrees) < confidence:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, degrees) < confidence else (low, middle)
    return (low + high) / 2


def t_within(t: float, degrees: int) -> float:
    """The chance of |T| <= t for a whole number of degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
