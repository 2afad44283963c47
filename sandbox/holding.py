"""Decides whether a score that has just come in is held: the rule, with what the database and the domain know."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from ..database import experiments, nodes
from ..database.connection import Reader
from ..domains.loader import Domain
from ..domains.quarantine import AlarmSpec
from ..evolution.models import Campaign, Evaluation, Experiment, FormerScore, Node, Quarantine, RungAlarm
from ..evolution.quarantine import Suspicion, alarm_reason, suspicion
from ..evolution.statistics import mean
from .cascade import End


async def suspected(
    reader: Reader, experiment: Experiment, campaign: Campaign, domain: Domain, end: End
) -> Quarantine | None:
    """Why a score has to wait for repeats, and with which seeds; `None` where it can be stored as it is."""
    rule = domain.spec.quarantine
    if end.score is None or not rule.enabled:
        return None
    runs = [stored.evaluation for stored in await experiments.evaluations(reader, [experiment.id])]
    bound = domain.spec.fitness.score_bound(domain.parameters(campaign.instance)[1])
    here = [run for run in runs if run.stage == end.stage and run.score is not None]
    found = suspicion(
        [run.score for run in here if run.score is not None],
        bound=bound,
        peers=await experiments.beaten_scores(reader, campaign.id, end.stage, end.score, but=experiment.node_id),
        deviations=rule.deviations,
        population=rule.population,
    )
    rung = None
    if found is None:
        found, rung = await _alarmed(reader, experiment, rule.alarms, end.stage, here)
    if found is None:
        return None
    return Quarantine(
        cause=found.cause,
        reason=found.reason,
        stage=end.stage,
        score=end.score,
        bound=bound,
        median=found.median,
        seeds=_other_seeds(rule.seeds, {run.seed for run in runs}),
        former=_standing(await nodes.get(reader, experiment.node_id)),
        alarm=rung,
    )


async def _alarmed(
    reader: Reader, experiment: Experiment, alarms: Sequence[AlarmSpec], stage: str, runs: Sequence[Evaluation]
) -> tuple[Suspicion | None, RungAlarm | None]:
    """The first alarm that rings, if one does. A metric that not every run tells rings none."""
    for alarm in [spec.alarm for spec in alarms]:
        values = [run.metrics[alarm.metric] for run in runs if alarm.metric in run.metrics]
        best = await experiments.best_metric(
            reader, experiment.campaign_id, stage, alarm.metric, alarm.higher_is_better, but=experiment.node_id
        )
        rung = alarm.rings(mean(values).value, best) if best is not None and len(values) == len(runs) else None
        if rung is not None:
            return Suspicion("alarm", alarm_reason(rung, alarm.margin), None), rung
    return None, None


def _standing(node: Node) -> FormerScore | None:
    if node.score is None or node.score_stage is None:
        return None
    return FormerScore(
        value=node.score,
        stderr=node.score_stderr,
        seeds=node.score_seeds,
        stage=node.score_stage,
        judging=node.judging,
    )


def _other_seeds(count: int, used: set[int]) -> tuple[int, ...]:
    """From the operating system: a candidate could know any that follow from the campaign's own."""
    chosen: dict[int, None] = {}
    while len(chosen) < count:
        seed = secrets.randbelow(2**31)
        if seed not in used:
            chosen[seed] = None
    return tuple(chosen)
