"""Metrics beside what the baseline's seeds came to on this machine."""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class Baseline(NamedTuple):
    """Mean and standard deviation of one metric over seeds."""

    mean: float
    sd: float
    seeds: int


class Comparison(NamedTuple):
    """One metric; what there is no baseline for is None."""

    name: str
    value: float
    mean: float | None = None
    sd: float | None = None
    seeds: int = 0
    difference: float | None = None
    """Value minus mean."""
    in_sd: float | None = None
    """The difference in deviations of the baseline, where these are above rounding."""


def read_baseline(told: Any) -> dict[str, Baseline]:
    """`params.json["baseline"]`: {metric: {"mean", "sd", "seeds"}}; metrics without a finite mean are left out."""
    baseline = {}
    for name, figures in (told or {}).items():
        mean, sd, seeds = figures.get("mean"), figures.get("sd"), figures.get("seeds")
        if mean is None or not math.isfinite(mean):
            continue
        # One seed has no deviation.
        spread = float(sd) if sd is not None and math.isfinite(sd) else 0.0
        baseline[name] = Baseline(float(mean), spread, len(seeds) if isinstance(seeds, list) else int(seeds or 0))
    return baseline


def compare(metrics: dict[str, float], baseline: dict[str, Baseline]) -> list[Comparison]:
    """One row for each metric, in the order of the metrics."""
    return [_row(name, value, baseline.get(name)) for name, value in metrics.items()]


def _row(name: str, value: float, of: Baseline | None) -> Comparison:
    if of is None:
        return Comparison(name, value)
    difference = value - of.mean
    above_rounding = of.sd > 1e-12 * max(1.0, abs(of.mean))
    return Comparison(name, value, of.mean, of.sd, of.seeds, difference, difference / of.sd if above_rounding else None)
