"""What children made of their parents: gains with the design choices behind them, and tries from the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..evolution.evidence.comparison import difference
from ..evolution.evidence.effects import Step
from ..evolution.outcomes import Outcome
from ..evolution.statistics import mean
from . import analyses, seeds
from .connection import Reader, Row
from .experiments import COUNTS
from .seeds import ByStage

NEWEST = 2000
"""Children that are looked at, the newest ones: enough for any estimate, and bounded in a long campaign."""
_CONCLUDED = "NOT n.is_baseline AND n.outcome NOT IN ('cancelled', 'lost', 'infrastructure_error')"


class Steps(NamedTuple):
    """Steps whose design choices are known."""

    known: list[Step]
    looked_at: int
    """Children, at most `NEWEST`."""


async def steps(reader: Reader, campaign_id: int) -> Steps:
    """The newest steps from a parent to a child that has ended, where the design choices of both are known.

    Those of a child are the tags of its latest analysis. An analysis without tags says nothing about them, so the step
    is left out; and so it is where the parent has no tags, unless it is the baseline, against which every tag is new.
    """
    rows = await reader.all(
        "SELECT n.id AS child, n.outcome, n.score_stage, p.id AS parent, p.is_baseline, p.score AS parent_score"
        " FROM nodes AS n JOIN lineage AS l ON l.node_id = n.id AND l.position = 0"
        " JOIN nodes AS p ON p.id = l.parent_id"
        f" WHERE n.campaign_id = ? AND {_CONCLUDED} ORDER BY n.id DESC LIMIT {NEWEST}",
        (campaign_id,),
    )
    numbers = list({number: None for row in rows for number in (row["child"], row["parent"])})
    tags = {node: _normal(told) for node, told in (await analyses.latest_tags(reader, numbers)).items()}
    scores = await seeds.scores(reader, numbers)
    known = [row for row in rows if tags.get(row["child"]) and (row["is_baseline"] or tags.get(row["parent"]))]
    return Steps([_step(row, tags, scores) for row in known], len(rows))


def _normal(tags: Sequence[str]) -> frozenset[str]:
    return frozenset(" ".join(tag.casefold().split()) for tag in tags)


def _step(row: Row, tags: Mapping[int, frozenset[str]], scores: Mapping[int, ByStage]) -> Step:
    stage = row["score_stage"]
    before, after = scores[row["parent"]].get(stage), scores[row["child"]].get(stage)
    gain = difference(before, after).mean if before and after and row["parent_score"] is not None else None
    new = tags[row["child"]] - tags.get(row["parent"], frozenset())
    return Step(new, gain, failed=row["outcome"] != Outcome.SCORED)


class BaselineTries(NamedTuple):
    """Children that have no parent but the baseline, and what the search has found, all at one stage."""

    stage: str
    baseline: float
    tries: list[float | None]
    """`None` is one that failed."""
    best: float
    """Of all nodes of the campaign there."""
    candidates: int
    """Tries of the whole search so far: candidates that ended by their own merit."""


async def tries_from_baseline(reader: Reader, campaign_id: int) -> BaselineTries | None:
    """The newest tries straight from the baseline, at the stage where most of them stand; `None` without any score."""
    rows = await reader.all(
        "SELECT n.id, n.outcome, n.score_stage, b.id AS baseline FROM nodes AS b"
        " JOIN lineage AS l ON l.parent_id = b.id JOIN nodes AS n ON n.id = l.node_id"
        " WHERE b.campaign_id = ?1 AND n.campaign_id = ?1 AND b.is_baseline"
        f" AND {_CONCLUDED} AND NOT EXISTS (SELECT 1 FROM lineage WHERE node_id = n.id AND parent_id <> b.id)"
        f" ORDER BY n.id DESC LIMIT {NEWEST}",
        (campaign_id,),
    )
    stages = [row["score_stage"] for row in rows if row["score_stage"] is not None]
    if not stages:
        return None
    stage = max(sorted(set(stages)), key=stages.count)
    baseline = rows[0]["baseline"]
    scores = await seeds.scores(reader, [baseline, *(row["id"] for row in rows)])
    at_start = scores[baseline].get(stage)
    best = await _best_at(reader, campaign_id, stage)
    if at_start is None or best is None:
        return None
    ended = [(row["outcome"], scores[row["id"]].get(stage)) for row in rows]
    tries = [_try(outcome, there) for outcome, there in ended if there or outcome != Outcome.SCORED]
    candidates = await reader.value(
        f"SELECT count(*) FROM nodes AS n WHERE campaign_id = ? AND {_CONCLUDED}", (campaign_id,)
    )
    return BaselineTries(stage, mean(list(at_start.values())).value, tries, best, candidates)


def _try(outcome: str, there: Mapping[int, float] | None) -> float | None:
    """What a try found: nothing where the candidate failed, also where it scored with another seed."""
    return mean(list(there.values())).value if there and outcome == Outcome.SCORED else None


async def _best_at(reader: Reader, campaign_id: int, stage: str) -> float | None:
    """The best score at a stage, also of nodes that have since scored at a dearer one."""
    standing = await reader.value(
        "SELECT score FROM nodes WHERE campaign_id = ? AND score IS NOT NULL AND score_stage = ?"
        " ORDER BY score DESC LIMIT 1",
        (campaign_id, stage),
    )
    moved_on = await reader.value(
        "SELECT avg(v.score) AS mean FROM nodes AS n JOIN experiments AS e ON e.node_id = n.id"
        " JOIN evaluations AS v ON v.experiment_id = e.id WHERE n.campaign_id = ?1 AND n.score IS NOT NULL"
        f" AND n.score_stage <> ?2 AND v.stage = ?2 AND v.score IS NOT NULL AND {COUNTS}"
        " GROUP BY n.id ORDER BY mean DESC LIMIT 1",
        (campaign_id, stage),
    )
    return max((score for score in (standing, moved_on) if score is not None), default=None)
