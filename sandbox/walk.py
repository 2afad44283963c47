"""What an experiment does next, by all that the database knows: the cascade, and the baseline that it may have to wait
for."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..database import baselines, experiments, nodes
from ..database.connection import Reader, Transaction
from ..domains.contract import DomainSpec
from ..domains.stages import Stage
from ..evolution.errors import DomainError
from ..evolution.models import Campaign, Experiment, Node
from ..evolution.outcomes import ExperimentStatus, Outcome
from .cascade import End, Measure, Step, next_step
from .measuring import measure

logger = logging.getLogger(__name__)

MOST_LOST = 2
"""A baseline whose run was lost with the machine runs once more by itself; then somebody has to look."""


async def step_of(reader: Reader, experiment: Experiment, spec: DomainSpec) -> Step | Measure | End:
    """The next step of an experiment as it is stored."""
    settled = [stored.evaluation for stored in await experiments.evaluations(reader, [experiment.id])]
    node = await nodes.get(reader, experiment.node_id)
    return next_step(
        spec,
        experiment.stage,
        experiment.seeds,
        settled,
        node.score is not None,
        experiment.quarantine,
        await _unmeasured(reader, node, spec),
    )


async def _unmeasured(reader: Reader, node: Node, spec: DomainSpec) -> set[str]:
    """Stages at which an experiment of this node has to measure the baseline."""
    relative = {stage.name for stage in spec.stages if stage.baseline_seeds and node.is_baseline}
    return relative - await baselines.measured_stages(reader, node.campaign_id) if relative else relative


async def after_measuring(
    tx: Transaction, experiment: Experiment, spec: DomainSpec, step: Step | Measure | End
) -> Step | End:
    """What comes next once the baseline's statistics have been taken, where it is time for that."""
    while isinstance(step, Measure):
        try:
            await measure(tx, experiment, spec, step.stage)
        except DomainError as error:
            return End(Outcome.INFRASTRUCTURE_ERROR, str(error), step.stage.name, None)
        step = await step_of(tx, experiment, spec)
    return step


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


async def hindrance_of(reader: Reader, experiment: Experiment, spec: DomainSpec, stage: Stage) -> Waits | str | None:
    """What keeps a run at a stage from being scored: a baseline that has to be measured first, or the sentence that
    says why it cannot be and what to do. `None` where nothing does."""
    if not stage.baseline_seeds or (await nodes.get(reader, experiment.node_id)).is_baseline:
        return None
    return await _standing(reader, experiment.campaign_id, spec, stage.name)


async def _standing(reader: Reader, campaign_id: int, spec: DomainSpec, stage: str) -> Waits | str | None:
    if stage in await baselines.measured_stages(reader, campaign_id):
        return None
    baseline = await nodes.baseline_id(reader, campaign_id)
    if baseline is None:
        return f"Expected campaign c{campaign_id} to have a baseline to compare with, but it has none. Start a new one."
    ordered = [
        experiment
        for experiment in await experiments.of_node(reader, baseline)
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


async def wait_for_baseline(
    tx: Transaction, experiment: Experiment, campaign: Campaign, waits: Waits, stage: Stage
) -> Experiment:
    """Note in a queued experiment what it waits for, and order that where nobody has; the baseline's experiment."""
    first = waits.experiment
    baseline = await nodes.baseline_id(tx, campaign.id)
    if first is None and baseline is not None:
        usual = stage.seeds if stage.on_request else campaign.settings.seeds
        base, count = campaign.settings.seed, max(usual, stage.baseline_seeds)
        number = await experiments.enqueue(
            tx, campaign_id=campaign.id, node_id=baseline, stage=stage.name, seeds=range(base, base + count)
        )
        logger.info("Queued e%d: the baseline has to be measured at stage %s", number, stage.name)
        first = await experiments.get(tx, number)
    if first is None:
        raise DomainError(f"Expected campaign c{campaign.id} to have a baseline, but it has none.")
    await experiments.wait(tx, experiment.id, Waits(first).reason)
    return first
