"""Scores relative to the baseline: what makes one of an evaluator's metrics, and the taking of its statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ..database import baselines, experiments
from ..database.connection import Transaction
from ..domains.contract import DomainSpec
from ..domains.stages import Stage
from ..evolution.errors import DomainError
from ..evolution.models import Experiment, Metrics
from ..evolution.outcomes import Outcome
from ..evolution.relative import Statistic, Statistics, measured
from .jobs import JobExit
from .preparation import Comparison


class Scored(NamedTuple):
    """Metrics with the one that the score is made of, as far as it is known."""

    metrics: Metrics
    score: float | None
    """`None` for a run of the baseline that is itself still to be measured."""


def scored(spec: DomainSpec, stage: str, metrics: Metrics, seed: int, known: Statistics, *, own: bool) -> Scored:
    """What the metrics of an evaluator come to at a stage.

    Args:
        known: what the baseline came to there; empty where it has not been measured, or nothing is relative to it.
        own: whether this is a run of the baseline itself.

    Raises:
        DomainError: the evaluator does not report what the score is made of.
    """
    fitness, found = spec.fitness, spec.stage(stage)
    if fitness.relative is None or found is None or not found.baseline_seeds:
        if fitness.metric not in metrics:
            raise DomainError(f"Expected the evaluator to report {fitness.metric}, but it reported {sorted(metrics)}.")
        return Scored(metrics, fitness.score(metrics))
    if fitness.metric in metrics:
        raise DomainError(
            f"Expected the evaluator not to report {fitness.metric} at stage {stage}, where it is computed from "
            f"{', '.join(fitness.relative.metrics)} relative to the baseline, but it did."
        )
    yardstick = fitness.relative.yardstick(stage)
    lacking = yardstick.lacking(metrics)
    if lacking is not None:
        raise DomainError(
            f"Expected the evaluator to report {lacking} as a finite number, since the score at stage {stage} is made "
            f"of it, but it reported {sorted(metrics)}."
        )
    if own and not known:
        return Scored(metrics, None)
    unknown = [term.metric for term in yardstick.terms if term.metric not in known]
    if unknown:
        raise DomainError(
            f"Expected the baseline to have been measured in {unknown[0]} at stage {stage}, but it was not. Start a "
            "new campaign: the fitness has changed since, or its numbers are too large."
        )
    score = yardstick.score(metrics, known, seed)
    return Scored({**metrics, fitness.metric: score}, score)


def with_score(spec: DomainSpec, stage: str, end: JobExit, seed: int, known: Statistics, *, own: bool) -> JobExit:
    """The end of a job with the metric of the fitness, or as an infrastructure error where there can be none."""
    if end.outcome is not Outcome.SCORED:
        return end
    try:
        return replace(end, metrics=scored(spec, stage, end.metrics, seed, known, own=own).metrics)
    except DomainError as error:
        return replace(end, outcome=Outcome.INFRASTRUCTURE_ERROR, reason=str(error))


def comparison(known: Statistics, seed: int, *, own: bool) -> Comparison:
    """What the programs of a run with that seed are told. The baseline's own runs are told of no statistics, whenever
    they come, so that they can be repeated."""
    return Comparison(
        is_baseline=own, baseline={} if own else {name: _told(statistic, seed) for name, statistic in known.items()}
    )


def _told(statistic: Statistic, seed: int) -> dict[str, float]:
    figures: dict[str, float] = {"mean": statistic.mean, "sd": statistic.sd, "seeds": len(statistic.by_seed)}
    return figures | ({"same_seed": statistic.by_seed[seed]} if seed in statistic.by_seed else {})


async def measure(tx: Transaction, experiment: Experiment, spec: DomainSpec, stage: Stage) -> None:
    """Take the baseline's statistics at a stage from the runs of an experiment, unless another was faster, and score
    the runs.

    Raises:
        DomainError: the runs cannot be scored.
    """
    found = [
        stored
        for stored in await experiments.evaluations(tx, [experiment.id])
        if stored.evaluation.stage == stage.name and stored.evaluation.outcome is Outcome.SCORED
    ]
    known: Statistics = await baselines.statistics(tx, experiment.campaign_id, stage.name)
    if not known:
        known = measured({stored.evaluation.seed: stored.evaluation.metrics for stored in found})
        if not known:
            raise DomainError(f"Expected finite statistics of the baseline at stage {stage.name}, but there are none.")
        await baselines.store(tx, experiment, stage.name, known)
    for stored in found:
        run = stored.evaluation
        if run.score is None:
            complete = scored(spec, stage.name, run.metrics, run.seed, known, own=True)
            if complete.score is not None:
                await baselines.score_run(tx, stored.id, spec.fitness.metric, complete.metrics, complete.score)
