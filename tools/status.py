"""Where a campaign stands, for `campaign_status`, its resource, and lists."""

from __future__ import annotations

import time
from typing import Any

from ..database import analyses, campaigns, experiments, nodes
from ..database.workspace import Workspace
from ..evolution import budgets
from ..evolution.budgets import BudgetUse
from ..evolution.ids import short_id
from ..evolution.models import Campaign, CampaignOptions, CampaignSettings
from ..evolution.outcomes import ExperimentStatus
from ..evolution.statistics import staircase
from .answers import Detail, ids, lesson_fields, node_line, without_none
from .archive_status import archive_fields
from .progress import experiment_lines


async def status_fields(workspace: Workspace, campaign: Campaign, detail: Detail) -> dict[str, Any]:
    """Everything that `campaign_status` says of one campaign."""
    reader = workspace.read
    many = 20 if detail == "full" else 5
    use = await campaigns.use(reader, campaign, time.time())
    running = await experiments.unfinished(reader, campaign.id, limit=many)
    held = [entry.id for entry in await experiments.held(reader, campaign.id, limit=many)]
    unanalysed = await analyses.without_analysis(reader, campaign.id)
    lessons = await analyses.latest_lessons(reader, campaign.id, limit=many)
    reached = budgets.reached(campaign.settings.budget, use)
    steps = await _improvements(workspace, campaign.id)
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
        "best": [
            node_line(node) for node in await nodes.listed(reader, campaign.id, limit=3) if node.score is not None
        ],
        "improvements": steps[-many:] or None,
        "plateau": {"candidates_since_best": use.since_best},
        "latest": [node_line(node) for node in await nodes.listed(reader, campaign.id, order="newest", limit=many)],
        "archive": await archive_fields(reader, campaign) if detail == "full" else None,
        "unfinished": await experiment_lines(workspace, running) or None,
        "quarantined": ids("e", held) or None,
        "needs_analysis": ids("n", unanalysed) or None,
        "lessons": [lesson_fields(lesson, 300) for lesson in lessons] or None,
        "lesson_count": await analyses.lesson_count(reader, campaign.id),
        "next": _advice(campaign, use, reached, [experiment.id for experiment in running], unanalysed),
    }


def _advice(campaign: Campaign, use: BudgetUse, reached: list[str], running: list[int], unanalysed: list[int]) -> str:
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
    if use.since_best >= 10:
        return (
            f"sample_nodes(campaign='{own}'); no new best in {use.since_best} candidates: leave the best node's "
            "neighbourhood, try cognition that nobody has used, or promote_node the best to make sure of it."
        )
    return f"sample_nodes(campaign='{own}'), then run_experiment with a candidate."


async def _improvements(workspace: Workspace, campaign_id: int) -> list[dict[str, Any]]:
    """The nodes that beat all before them, in order."""
    finished = await nodes.finished_scores(workspace.read, campaign_id)
    steps = staircase([score for _, score in finished]).steps
    return [{"node": short_id("n", finished[place][0]), "score": score} for place, score in steps]


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
        }
    )
