"""Decides whether a score that has just come in is held: the rule, with what the database and the domain know."""

from __future__ import annotations

import secrets

from ..database import experiments, nodes
from ..database.connection import Reader
from ..domains.loader import Domain
from ..evolution.models import Campaign, Experiment, FormerScore, Node, Quarantine
from ..evolution.quarantine import suspicion
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
    found = suspicion(
        [run.score for run in runs if run.stage == end.stage and run.score is not None],
        bound=bound,
        peers=await experiments.beaten_scores(reader, campaign.id, end.stage, end.score, but=experiment.node_id),
        deviations=rule.deviations,
        population=rule.population,
    )
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
    )


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
