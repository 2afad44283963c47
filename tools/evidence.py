"""How sure scores are, for the tools' answers: leads, differences, design choices that helped, and honest baselines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ..database import campaigns, lineages, nodes, seeds
from ..database.connection import Reader
from ..database.seeds import ByStage
from ..database.workspace import Workspace
from ..domains.loader import find_domain
from ..evolution.evidence.best_of import LEAST_TRIES, best_of
from ..evolution.evidence.comparison import Difference, described, difference
from ..evolution.evidence.effects import LEAST_OF_A_TAG, LEAST_STEPS, Effect, FailureShare, effects, failures
from ..evolution.evidence.lead import Standing, lead
from ..evolution.evidence.pairing import fresh_seeds
from ..evolution.evidence.plateau import Plateau
from ..evolution.ids import short_id
from ..evolution.models import Campaign, Node
from ..evolution.statistics import CONFIDENCE, Interval
from .answers import ids, node_line, number, without_none

RIVALS = 4
"""Nodes next to the best that its lead is measured against."""
TAGS_IN_ANSWER = 20


async def best_lines(workspace: Workspace, campaign_id: int) -> list[dict[str, Any]]:
    """The three best nodes, the first with what is known of its lead."""
    found = await nodes.listed(workspace.read, campaign_id, limit=3)
    lines = [node_line(node) for node in found if node.score is not None]
    if lines:
        lines[0] |= without_none({"noise": await noise_of_best(workspace, campaign_id)})
    return lines


async def noise_of_best(workspace: Workspace, campaign_id: int) -> str | None:
    """Whether the best node leads the next ones by more than the noise; `None` where nothing else has scored."""
    reader = workspace.read
    ranking = await nodes.listed(reader, campaign_id, limit=1 + RIVALS)
    scores = await seeds.scores(reader, [node.id for node in ranking])
    share = await _metric_share(reader, campaign_id) if any(node.judging for node in ranking) else 1.0
    standings = [
        Standing(short_id("n", node.id), node.score_stage, _as_ranked(node, scores[node.id][node.score_stage], share))
        for node in ranking
        if node.score is not None and node.score_stage in scores[node.id]
    ]
    count = await nodes.scored_count(reader, campaign_id)
    return await asyncio.to_thread(lead, standings, count)


async def _metric_share(reader: Reader, campaign_id: int) -> float:
    """What the metric counts beside the judges."""
    rubric = find_domain((await campaigns.get(reader, campaign_id)).domain).spec.judge
    return 1 - rubric.weight if rubric is not None else 1.0


def _as_ranked(node: Node, scores: Mapping[int, float], metric_share: float) -> dict[int, float]:
    """Scores of seeds as the leaderboard counts them: a judgement moves all of them alike."""
    if node.judging is None or node.score is None:
        return dict(scores)
    return {seed: node.score + metric_share * (score - node.judging.metric) for seed, score in scores.items()}


async def comparison_fields(workspace: Workspace, first: Node, second: Node) -> dict[str, Any]:
    """The difference of two nodes' scores at the deepest stage where both have scored, or why there is none."""
    if first.score is None or second.score is None:
        return {}
    if (reason := await _incomparable(workspace, first, second)) is not None:
        return {"note": reason}
    scores = await seeds.scores(workspace.read, [first.id, second.id])
    stage = _deepest_shared(first, second, scores[first.id], scores[second.id])
    names = ids("n", [first.id, second.id])
    if stage is None:
        return {"note": _no_shared_stage(first, second)}
    found = await asyncio.to_thread(difference, scores[first.id][stage], scores[second.id][stage])
    of_metric = {"of": "metric_score"} if first.judging or second.judging else {}
    said = _difference_fields(found, names, _to_name(stage, first, second))
    fields: dict[str, Any] = {"difference": of_metric | {"stage": stage} | said}
    if first.score_stage != second.score_stage:
        fields["note"] = (
            f"Their scores are of different stages ({first.score_stage}, {second.score_stage}) and do not compare; the "
            f"difference is that at stage {stage}."
        )
    return without_none(fields | {"node_gain": gain_of_judged(first, second)})


async def _incomparable(workspace: Workspace, first: Node, second: Node) -> str | None:
    if first.campaign_id == second.campaign_id:
        return None
    told = [await campaigns.get(workspace.read, node.campaign_id) for node in (first, second)]
    if len({(entry.domain_name, entry.domain_version, entry.instance) for entry in told}) == 1:
        return None
    what = [" ".join(filter(None, (entry.domain_name, entry.domain_version, entry.instance))) for entry in told]
    return f"Scored on different problems ({', '.join(what)}): the scores do not compare."


def _deepest_shared(first: Node, second: Node, before: ByStage, after: ByStage) -> str | None:
    """A node's score is of the deepest stage where it scored; before it got there it ran the cheaper ones in order."""
    shared = [stage for stage in before if stage in after]
    standing = [stage for stage in (first.score_stage, second.score_stage) if stage in shared]
    return (standing or shared[::-1] or [None])[0]


def _no_shared_stage(first: Node, second: Node) -> str:
    return (
        f"Scored at different stages ({first.score_stage}, {second.score_stage}): the scores do not compare. "
        f"promote_node(node='{short_id('n', first.id)}', stage='{second.score_stage}')."
    )


def _to_name(stage: str, *compared: Node) -> str | None:
    """The stage, where promote_node without one would run one of the nodes elsewhere."""
    return stage if any(node.score_stage != stage for node in compared) else None


def _difference_fields(found: Difference, names: Sequence[str], stage: str | None) -> dict[str, Any]:
    return without_none(
        {
            "mean": number(found.mean),
            "standard_error": number(found.stderr) if found.stderr is not None else None,
            "interval": _interval(found.interval),
            "seeds": found.seeds[0] if found.paired else list(found.seeds),
            "paired": found.paired,
            "text": described(found, *names, stage=stage),
        }
    )


def _interval(interval: Interval | None) -> list[float] | None:
    return [float(f"{bound:.6g}") for bound in interval] if interval is not None else None


async def gain_fields(workspace: Workspace, parent: Node, child: Node, stage: str) -> dict[str, Any]:
    """What a child gained over its parent at the stage that it has just scored at; in full where seeds say how sure."""
    scores = await seeds.scores(workspace.read, [parent.id, child.id])
    before, after = scores[parent.id].get(stage), scores[child.id].get(stage)
    own = short_id("n", parent.id)
    if not before or not after:
        text = f"{own} has no score at stage {stage}; promote_node(node='{own}', stage='{stage}') would tell the gain."
        return {"difference": {"text": text}} if after else {}
    found = await asyncio.to_thread(difference, before, after)
    fields: dict[str, Any] = {"gain": number(found.mean)}
    if max(found.all_seeds) > 1:
        fields["difference"] = _difference_fields(found, [own, short_id("n", child.id)], _to_name(stage, parent, child))
    return fields


def gain_of_judged(parent: Node, child: Node) -> float | None:
    """What a child gains over its parent with what judges say of both; nothing while one of them is unjudged or their
    stages differ. The other differences are those of the metric, since seeds do not change a judge's mind."""
    if parent.score_stage != child.score_stage:
        return None
    if child.judging is None or child.score is None or parent.score is None or child.unjudged or parent.unjudged:
        return None
    return number(child.score - parent.score)


def plateau_fields(found: Plateau, since_best: int) -> dict[str, Any]:
    """Whether the search still moves."""
    return {"state": found.state, "candidates_since_best": since_best, "reason": found.reason}


async def effects_fields(workspace: Workspace, campaign: Campaign) -> dict[str, Any]:
    """Which design choices went with gains and with failures."""
    known, looked_at = await lineages.steps(workspace.read, campaign.id)
    found = await asyncio.to_thread(effects, known, campaign.settings.seed)
    observations = sum(step.gain is not None for step in known)
    bound = f" Only the newest {looked_at} children were looked at." if looked_at == lineages.NEWEST else ""
    return without_none(
        {
            "observations": observations,
            "gains": [_effect_line(entry) for entry in _telling(found)] or None,
            "failures": [_failure_line(entry) for entry in failures(known)[:TAGS_IN_ANSWER]] or None,
            "children": len(known),
            "note": _about_effects(observations, found) + bound,
        }
    )


def _telling(found: Sequence[Effect]) -> list[Effect]:
    """Both ends of the list, where it is long."""
    half = TAGS_IN_ANSWER // 2
    return list(found) if len(found) <= TAGS_IN_ANSWER else [*found[:half], *found[-half:]]


def _about_effects(observations: int, found: Sequence[Effect]) -> str:
    if observations < LEAST_STEPS:
        return (
            f"Gains of children over parents with known tags: {observations}; below {LEAST_STEPS} nothing is claimed. "
            "Every record_analysis with tags adds one."
        )
    if not found:
        return f"No tag has {LEAST_OF_A_TAG} children with it and {LEAST_OF_A_TAG} without, or all gains are equal."
    chance = (1 - CONFIDENCE) * len(found)
    return (
        "effect: how much more children gained over their parents with a new tag than without it, the other tags being "
        f"equal; 95 % intervals. An association, not a cause. Of {len(found)} tags about {chance:.1f} would stand out "
        "by luck alone."
    )


def _effect_line(entry: Effect) -> dict[str, Any]:
    return {
        "tag": entry.tag,
        "children": entry.children,
        "mean_gain": _short(entry.mean_gain),
        "effect": _short(entry.effect),
        "interval": _interval(entry.interval),
        "verdict": entry.verdict,
    }


def _failure_line(entry: FailureShare) -> dict[str, Any]:
    low, high = entry.interval
    return {"tag": entry.tag, "failed": f"{entry.failed} of {entry.children} ({low:.0%} to {high:.0%})"}


def _short(value: float) -> float:
    return float(f"{value:.6g}")


async def best_of_fields(workspace: Workspace, campaign: Campaign) -> dict[str, Any]:
    """What the same number of tries straight from the baseline would have found."""
    told = await lineages.tries_from_baseline(workspace.read, campaign.id)
    tries = told.tries if told is not None else []
    found = (
        await asyncio.to_thread(best_of, tries, told.baseline, told.candidates, campaign.settings.seed)
        if told is not None
        else None
    )
    if told is None or found is None:
        return {
            "tries": len(tries),
            "text": f"Scored or failed candidates whose only parent is the baseline: {len(tries)}; an estimate takes "
            f"{LEAST_TRIES}.",
        }
    return {
        "stage": told.stage,
        "tries": len(tries),
        "failed": tries.count(None),
        "draws": told.candidates,
        "expected_best": _short(found.expected),
        "bootstrap_interval": _interval(found.interval),
        "best_found": told.best,
        "text": _about_best_of(told.best, found.expected, told.candidates, len(tries)),
    }


def _about_best_of(best: float, expected: float, draws: int, tries: int) -> str:
    gap = f"{best - expected:.4g} more" if best > expected else "not more"
    bound = (
        f" A lower bound: draws from {tries} tries cannot exceed the best of these. Were the other {draws - tries} "
        f"candidates no better, the best of all would still be one of them with a chance of {1 - tries / draws:.0%}."
    )
    return (
        f"{draws} tries from the baseline alone would have found about {expected:.6g}; the search found {best:.6g}, "
        f"{gap}." + (bound if draws > tries else "")
    )


async def seeds_to_pair(reader: Reader, campaign: Campaign, node: Node, stage: str, count: int) -> list[int]:
    """Seeds for more runs of a node: those of its parent, of the baseline and of the best other node come first."""
    best = [other.id for other in await nodes.listed(reader, campaign.id, limit=2) if other.score is not None]
    wanted = [*node.parents[:1], await nodes.baseline_id(reader, campaign.id), *best]
    others = list(dict.fromkeys(number for number in wanted if number is not None and number != node.id))
    scores = await seeds.scores(reader, [node.id, *others])
    return fresh_seeds(
        count,
        seen=scores[node.id].get(stage, {}),
        others=[scores[number].get(stage, {}) for number in others],
        hidden=await seeds.hidden(reader, others),
        base=campaign.settings.seed,
    )
