"""Judgements: the marks that judges gave to nodes, and the scores of nodes that follow from them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ..evolution.ids import short_id
from ..evolution.judging import Judge, Weighing
from ..evolution.models import Judging, Node
from ..evolution.statistics import Mean, mean
from . import events, experiments, nodes
from .connection import Reader, Row, Transaction


@dataclass(frozen=True)
class NewJudgement:
    """What a judge says of a node."""

    judge: Judge
    model: str | None
    """Of an endpoint."""
    marks: Mapping[str, float]
    quality: float
    """What the marks come to, 0 to 1."""
    comment: str


@dataclass(frozen=True)
class Judgement(NewJudgement):
    """A stored judgement."""

    created_at: float


async def add(tx: Transaction, node: Node, new: NewJudgement) -> None:
    """Store a judgement. `rescore` lets it count."""
    await tx.insert(
        "INSERT INTO judgements (campaign_id, node_id, judge, model, marks_json, quality, comment, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            node.campaign_id,
            node.id,
            new.judge,
            new.model,
            json.dumps(dict(new.marks)),
            new.quality,
            new.comment,
            time.time(),
        ),
    )
    await events.record(tx, node.campaign_id, "judgement_recorded", short_id("n", node.id), judge=new.judge)


async def of_node(reader: Reader, node_id: int) -> list[Judgement]:
    """Every judgement of a node, oldest first."""
    rows = await reader.all("SELECT * FROM judgements WHERE node_id = ? ORDER BY id", (node_id,))
    return [_judgement(row) for row in rows]


async def rescore(tx: Transaction, node_id: int, stage: str, weighing: Weighing | None) -> Mean:
    """Set a node's score to the mean over the seeds of a stage, combined with its judgements where the domain has a
    rubric. The marks belong to the program, so they stand whichever stage it scores at."""
    metric = mean(list((await experiments.seed_scores(tx, node_id, stage)).values()))
    if weighing is None:
        await nodes.set_score(tx, node_id, stage, metric)
        return metric
    quality = await quality_of(tx, node_id)
    score = weighing.combined(metric, quality)
    await nodes.set_score(tx, node_id, stage, score, Judging(metric=metric.value, quality=quality))
    return score


async def quality_of(reader: Reader, node_id: int) -> float | None:
    """Mean over the judges of what each said last; `None` where none has said anything."""
    rows = await reader.all(
        "SELECT quality FROM judgements WHERE id IN (SELECT max(id) FROM judgements WHERE node_id = ? GROUP BY judge)",
        (node_id,),
    )
    return mean([row["quality"] for row in rows]).value if rows else None


async def unjudged(reader: Reader, campaign_id: int, limit: int = 10) -> list[int]:
    """Scored nodes that wait for their first judgement, the best first; none where the domain has no rubric."""
    rows = await reader.all(
        "SELECT id FROM nodes WHERE campaign_id = ? AND score IS NOT NULL AND metric_score IS NOT NULL"
        " AND quality IS NULL ORDER BY score DESC, id LIMIT ?",
        (campaign_id, limit),
    )
    return [row["id"] for row in rows]


def _judgement(row: Row) -> Judgement:
    marks: dict[str, Any] = json.loads(row["marks_json"])
    return Judgement(
        judge=cast("Judge", row["judge"]),
        model=row["model"],
        marks={name: float(mark) for name, mark in marks.items()},
        quality=row["quality"],
        comment=row["comment"],
        created_at=row["created_at"],
    )
