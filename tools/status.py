"""Where a campaign stands, for `campaign_status`, its resource, and lists."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..database import analyses, campaigns, experiments, judgements, nodes
from ..database.connection import Reader
from ..database.workspace import Workspace
from ..evolution import budgets
from ..evolution.budgets import BudgetUse
from ..evolution.evidence.plateau import Plateau, plateau
from ..evolution.ids import short_id
from ..evolution.models import Campaign, CampaignOptions, CampaignSettings
from ..evolution.outcomes import ExperimentStatus
from ..evolution.statistics import staircase
from . import evidence
from .answers import Detail, ids, node_line, without_none
from .archive_status import archive_fields
from .progress import experiment_lines
from .provenance import provenance_summary
from .showing import Shown


async def status_fields(workspace: Workspace, campaign: Campaign, detail: Detail) -> dict[str, Any]:
    """Everything that `campaign_status` says of one campaign."""
    reader = workspace.read
    many = 20 if detail == "full" else 5
    use = await campaigns.use(reader, campaign, time.time())
    running = await experiments.unfinished(reader, campaign.id, limit=many)
    held = [entry.id for entry in await experiments.held(reader, campaign.id, limit=many)]
    unjudged = await judgements.unjudged(reader, campaign.id)
    shown = Shown.by(campaign.settings)
    unanalysed = await shown.unanalysed(reader, campaign.id)
    lessons = await shown.latest_lessons(reader, campaign.id, limit=many)
    reached = budgets.reached(campaign.settings.budget, use)
    finished = await nodes.finished_scores(reader, campaign.id)
    trend = plateau([score for _, score in finished])
    return {
        "campaign": short_id("c", campaign.id),
        "name": campaign.name,
        "goal": campaign.goal or None,
        "program": campaign.program,
        "domain": campaign.domain_name,
        "instance": campaign.instance,
        "settings": settings_fields(campaign.settings),
        "used": _use_fields(use),
        "reached": reached or None,
        "nodes": await nodes.outcome_counts(reader, campaign.id),
        "best": await evidence.best_lines(workspace, campaign.id),
        "improvements": await _improvements(reader, finished, many) or None,
        "plateau": evidence.plateau_fields(trend, use.since_best),
        "effects": await evidence.effects_fields(workspace, campaign) if detail == "full" and shown.lessons else None,
        "best_of_n": await evidence.best_of_fields(workspace, campaign) if detail == "full" else None,
        "latest": [node_line(node) for node in await nodes.listed(reader, campaign.id, order="newest", limit=many)],
        "archive": await archive_fields(reader, campaign) if detail == "full" else None,
        "unfinished": await experiment_lines(workspace, running) or None,
        "quarantined": ids("e", held) or None,
        "needs_judgement": ids("n", unjudged) or None,
        "needs_analysis": ids("n", unanalysed) or None,
        "lessons": await shown.lesson_lines(reader, lessons, 300) or None,
        "lesson_count": await analyses.lesson_count(reader, campaign.id) if shown.lessons else None,
        "provenance": await provenance_summary(reader, campaign) if detail == "full" else None,
        "notice": shown.notice,
        "next": _judging_advice(campaign, unjudged)
        or _advice(campaign, use, trend, reached, [experiment.id for experiment in running], unanalysed),
    }


def _judging_advice(campaign: Campaign, unjudged: list[int]) -> str | None:
    """First of all: what an unjudged node is worth as a parent is not known."""
    if not unjudged:
        return None
    first, domain = short_id("n", unjudged[0]), campaign.domain
    return f"record_judgement(node='{first}', ...) by the rubric that list_domains(domain={domain!r}) shows."


def _advice(
    campaign: Campaign,
    use: BudgetUse,
    trend: Plateau,
    reached: list[str],
    running: list[int],
    unanalysed: list[int],
) -> str:
    own = short_id("c", campaign.id)
    if unanalysed:
        first = short_id("n", unanalysed[0])
        return f"get_node(node='{first}'), then record_analysis for it: lessons steer the next rounds."
    if reached:
        return (
            f"The campaign has reached a bound: {'; '.join(reached)}. Report the best node to the user, or with their "
            f"consent raise it with update_campaign(campaign='{own}', budget=...)."
        )
    if use.best_score is None:
        if running:
            return f"wait_experiment(experiments={ids('e', running[:5])}): nothing has scored yet."
        return f"search_nodes(campaign='{own}') shows what went wrong; promote_node runs a node again."
    if trend.state == "plateau":
        untried = "try cognition that nobody has used, " if campaign.settings.cognition else ""
        return (
            f"sample_nodes(campaign='{own}'); no new best in {use.since_best} candidates: leave the best node's "
            f"neighbourhood, {untried}or promote_node the best to make sure of it."
        )
    return f"sample_nodes(campaign='{own}'), then run_experiment with a candidate."


async def _improvements(
    reader: Reader, finished: Sequence[tuple[int, float | None]], limit: int
) -> list[dict[str, Any]]:
    """The last nodes that beat all before them, in order."""
    steps = staircase([score for _, score in finished]).steps[-limit:]
    found = await nodes.many(reader, [finished[place][0] for place, _ in steps])
    return [
        without_none({"node": short_id("n", node.id), "score": score, "unjudged": node.unjudged or None})
        for node, (_, score) in zip(found, steps, strict=True)
    ]


async def campaign_line(workspace: Workspace, campaign: Campaign) -> dict[str, Any]:
    """A campaign in a list."""
    use = await campaigns.use(workspace.read, campaign, time.time())
    running = await experiments.unfinished(workspace.read, campaign.id, limit=20)
    return without_none(
        {
            "campaign": short_id("c", campaign.id),
            "name": campaign.name,
            "program": campaign.program,
            "domain": campaign.domain_name,
            "instance": campaign.instance,
            "experiments": f"{use.experiments} of {campaign.settings.budget.experiments}",
            "best_score": use.best_score,
            "best_unjudged": use.best_unjudged or None,
            "unfinished": sum(experiment.status is not ExperimentStatus.FINISHED for experiment in running) or None,
        }
    )


def settings_fields(settings: CampaignSettings) -> dict[str, Any]:
    """Options where they are not the default."""
    options = settings.model_dump(include=set(CampaignOptions.model_fields), exclude_defaults=True, mode="json")
    return settings.model_dump(exclude=set(CampaignOptions.model_fields), exclude_none=True, mode="json") | options


def _use_fields(use: BudgetUse) -> dict[str, Any]:
    return without_none(
        {
            "experiments": use.experiments,
            "rounds": use.rounds,
            "cpu_seconds": round(use.cpu_seconds, 1),
            "gpu_seconds": round(use.gpu_seconds, 1) or None,
            "wall_seconds": round(use.wall_seconds),
            "best_score": use.best_score,
            "best_unjudged": use.best_unjudged or None,
        }
    )
