"""The rounds of a campaign as curves need them: how each candidate ended, and what it scored at one stage."""

from __future__ import annotations

from collections.abc import Sequence

from ..evolution.curves import Course, Trial, course
from ..evolution.outcomes import Outcome
from ..evolution.statistics import mean
from . import experiments
from .connection import Reader, Row


async def usual_stage(reader: Reader, campaign_ids: Sequence[int]) -> str | None:
    """The stage at which most nodes of some campaigns stand; `None` where nothing has scored."""
    marks = ", ".join("?" * len(campaign_ids))
    return await reader.value(
        f"SELECT score_stage FROM nodes WHERE campaign_id IN ({marks}) AND score IS NOT NULL GROUP BY score_stage"
        " ORDER BY count(*) DESC, score_stage LIMIT 1",
        list(campaign_ids),
    )


async def scored_stages(reader: Reader, campaign_ids: Sequence[int]) -> list[str]:
    """Every stage at which an evaluation of some campaigns has scored, in order of name."""
    marks = ", ".join("?" * len(campaign_ids))
    rows = await reader.all(
        "SELECT DISTINCT v.stage FROM experiments AS e JOIN evaluations AS v ON v.experiment_id = e.id"
        f" WHERE e.campaign_id IN ({marks}) AND v.score IS NOT NULL ORDER BY v.stage",
        list(campaign_ids),
    )
    return [row["stage"] for row in rows]


async def course_of(reader: Reader, campaign_id: int, stage: str | None) -> Course:
    """The candidates of a campaign that ended by their own merit, in order of age, with their scores at a stage.

    A node that stands at another stage counts with what it scored at this one, if it did.
    """
    rows = await reader.all(
        "SELECT id, is_baseline, outcome, score, score_stderr, score_stage FROM nodes WHERE campaign_id = ?"
        " AND status <> 'quarantined' AND outcome NOT IN ('cancelled', 'lost', 'infrastructure_error') ORDER BY id",
        (campaign_id,),
    )
    first = next((row for row in rows if row["is_baseline"]), None)
    baseline = await _trial(reader, first, stage) if first is not None else None
    return course(baseline, [await _trial(reader, row, stage) for row in rows if not row["is_baseline"]])


async def _trial(reader: Reader, row: Row, stage: str | None) -> Trial:
    outcome = Outcome(row["outcome"])
    if row["score"] is None or stage is None or row["score_stage"] == stage:
        return Trial(outcome, row["score"], row["score_stderr"])
    seeds = await experiments.seed_scores(reader, row["id"], stage)
    if not seeds:
        return Trial(outcome, None)
    found = mean(list(seeds.values()))
    return Trial(outcome, found.value, found.stderr)
