"""Scores relative to the baseline: what makes one of an evaluator's metrics, and who waits for the baseline to run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from ..database import baselines, experiments
from ..database.connection import Reader, Transaction
from ..domains.contract import DomainSpec
from ..domains.stages import Stage
from ..evolution.errors import DomainError
from ..evolution.models import Campaign, Experiment, Metrics
from ..evolution.outcomes import ExperimentStatus, Outcome
from ..evolution.relative import Statistics, measured
from .jobs import JobExit
from .preparation import Comparison

MOST_LOST = 2
"""A baseline whose run was lost with the machine runs once more by itself; then somebody has to look."""


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
    score = yardstick.score(metrics, known, None if own else seed)
    return Scored({**metrics, fitness.metric: score}, score)


def with_score(spec: DomainSpec, stage: str, end: JobExit, seed: int, known: Statistics, *, own: bool) -> JobExit:
    """The end of a job with the metric of the fitness, or as an infrastructure error where there can be none."""
    if end.outcome is not Outcome.SCORED:
        return end
    try:
        return replace(end, metrics=scored(spec, stage, end.metrics, seed, known, own=own).metrics)
    except DomainError as error:
        return replace(end, outcome=Outcome.INFRASTRUCTURE_ERROR, reason=str(error))


def comparison(known: Statistics, *, own: bool) -> Comparison:
    """What the programs of a job are told. The baseline's own runs are told of no statistics, whenever they come, so
    that they can be repeated."""
    told = {
        name: {"mean": statistic.mean, "sd": statistic.sd, "seeds": len(statistic.by_seed)}
        for name, statistic in known.items()
    }
    return Comparison(is_baseline=own, baseline={} if own else told)


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


@dataclass(frozen=True)
class Waits:
    """A candidate has to wait until the baseline has been measured."""

    experiment: Experiment | None
    """In which this is done; `None`: nobody has ordered one yet."""

    @property
    def reason(self) -> str:
        """For whoever waits with it."""
        which = f" (e{self.experiment.id})" if self.experiment is not None else ""
        return f"Waits for the baseline{which}: scores at this stage are relative to it."


async def standing(reader: Reader, campaign_id: int, spec: DomainSpec, stage: str) -> Waits | str | None:
    """Whether scores at a stage can be computed: `None` where they can, else what to wait for, or why waiting is of no
    use and what to do."""
    if stage in await baselines.measured_stages(reader, campaign_id):
        return None
    ordered = [
        experiment
        for experiment in await baselines.experiments_of_baseline(reader, campaign_id)
        if _passes(spec, experiment.stage, stage)
    ]
    for experiment in ordered:
        if experiment.status is not ExperimentStatus.FINISHED:
            return Waits(experiment)
    if not ordered or (len(ordered) < MOST_LOST and ordered[-1].outcome is Outcome.LOST):
        return Waits(None)
    last = ordered[-1]
    return (
        f"Scores at stage {stage} are relative to the baseline, n{last.node_id}, which could not be measured there: "
        f"e{last.id} ended as {last.outcome}. {last.reason} Mend the cause, then promote_node(node='n{last.node_id}', "
        f"stage='{stage}') measures it, and promote_node runs this candidate again."
    )


def _passes(spec: DomainSpec, target: str, stage: str) -> bool:
    """Whether an experiment that aims at a stage is sure to come by another."""
    aim = spec.stage(target)
    if aim is None or target == stage:
        return target == stage
    return not aim.on_request and stage in [rung.name for rung in spec.cascade(target)]


async def order_baseline(tx: Transaction, campaign: Campaign, node_id: int, stage: Stage) -> int:
    """Queue the baseline at a stage that a candidate has come to before it; the number of its experiment."""
    usual = stage.seeds if stage.on_request else campaign.settings.seeds
    base, count = campaign.settings.seed, max(usual, stage.baseline_seeds)
    return await experiments.enqueue(
        tx, campaign_id=campaign.id, node_id=node_id, stage=stage.name, seeds=range(base, base + count)
    )
