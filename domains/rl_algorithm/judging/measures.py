"""The metrics of an experiment, from its runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from judging.forms import Run
from judging.gains import run_metric

ON_THE_WAY = (33, 67)
"""Percent of the steps at which pass@1 is a metric of its own, so that the baseline's curve is known later."""


def measures(runs: Sequence[Run], regimes: Sequence[str], seeds: Sequence[int]) -> dict[str, float]:
    """Means over the runs but where a name says otherwise; `pass_at_1_REGIME_K` are single runs, K-th seed."""
    metrics = {"pass_at_1": mean(run.pass_at_1 for run in runs)}
    for regime in regimes:
        of_regime = [run for run in runs if run.regime == regime]
        metrics[f"pass_at_1_{regime}"] = mean(run.pass_at_1 for run in of_regime)
        for percent in ON_THE_WAY:
            metrics[f"pass_at_1_{regime}_at_{percent}"] = mean(at_percent(run, percent) for run in of_regime)
    metrics |= {run_metric(run, seeds): run.pass_at_1 for run in runs}
    metrics["warm_pass_at_1"] = mean(run.curve[0][1] for run in runs)
    metrics["area"] = mean(area(run) for run in runs)
    metrics["greedy"] = mean(run.greedy for run in runs)
    metrics["worst_task"] = min(mean(run.by_task[task] for run in runs) for task in runs[0].by_task)
    metrics["worst_seed"] = min(mean(run.pass_at_1 for run in runs if run.seed == seed) for seed in seeds)
    for name in ("entropy", "kl", "clip_fraction"):
        metrics[name] = mean(run.numbers[name] for run in runs)
    metrics["length_drift"] = mean(run.numbers["length"] / run.numbers["length_start"] - 1 for run in runs)
    return metrics


def area(run: Run) -> float:
    """Mean height of the learning curve: the area under straight lines between its points, over the steps."""
    parts = pairwise(run.curve)
    return math.fsum((after - before) * (low + high) / 2 for (before, low), (after, high) in parts) / run.steps


def at_percent(run: Run, percent: float) -> float:
    """pass@1 after a share of the steps, on a straight line between the points beside it."""
    wanted = percent / 100 * run.steps
    for (before, low), (after, high) in pairwise(run.curve):
        if wanted <= after:
            return low + (high - low) * (wanted - before) / (after - before)
    return run.pass_at_1


def mean(values: Iterable[float]) -> float:
    """Of at least one value."""
    found = list(values)
    return math.fsum(found) / len(found)
