"""What runs tell of themselves: the latest point of each that runs, and the series of each that has ended."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ..evolution.progress import Point, Progress
from .connection import Reader, Transaction


@dataclass(frozen=True)
class Told:
    """Where a running experiment is."""

    stage: str
    seed: int
    point: Point
    told_at: float
    """Unix time at which the daemon noted it."""


async def note(tx: Transaction, points: Mapping[int, Point]) -> None:
    """Store what jobs told last, by the number of the job. A job that has been settled meanwhile is left out."""
    now = time.time()
    await tx.many(
        "UPDATE jobs SET progress_json = ? WHERE id = ?",
        [(json.dumps({"told_at": now, "point": asdict(point)}), number) for number, point in points.items()],
    )


async def latest(reader: Reader, experiment_ids: Sequence[int]) -> dict[int, Told]:
    """Experiment to what its present run told last, for those whose run has told anything."""
    marks = ", ".join("?" * len(experiment_ids))
    rows = await reader.all(
        f"SELECT * FROM jobs WHERE experiment_id IN ({marks}) AND progress_json IS NOT NULL", list(experiment_ids)
    )
    found: dict[int, Told] = {}
    for row in rows:
        told = json.loads(row["progress_json"])
        point = Point.from_fields(told["point"])
        found[row["experiment_id"]] = Told(row["stage"], row["seed"], point, told["told_at"])
    return found


async def store(tx: Transaction, evaluation_id: int, progress: Progress) -> None:
    """Keep what a run told, once, with its evaluation."""
    await tx.execute(
        "INSERT INTO progress (evaluation_id, progress_json) VALUES (?, ?)", (evaluation_id, progress.to_json())
    )


async def of_evaluations(reader: Reader, evaluation_ids: Sequence[int]) -> dict[int, Progress]:
    """Evaluation to what its run told, for those that told anything."""
    marks = ", ".join("?" * len(evaluation_ids))
    rows = await reader.all(f"SELECT * FROM progress WHERE evaluation_id IN ({marks})", list(evaluation_ids))
    return {row["evaluation_id"]: Progress.from_json(row["progress_json"]) for row in rows}


async def of_baseline(reader: Reader, campaign_id: int, stage: str) -> list[Progress]:
    """What the scored runs of a campaign's baseline told at a stage, the latest of each seed."""
    rows = await reader.all(
        "SELECT v.seed, p.progress_json FROM progress AS p JOIN evaluations AS v ON v.id = p.evaluation_id"
        " JOIN experiments AS e ON e.id = v.experiment_id"
        " WHERE e.node_id = (SELECT id FROM nodes WHERE campaign_id = ? AND is_baseline ORDER BY id LIMIT 1)"
        " AND v.stage = ? AND v.outcome = 'scored' ORDER BY v.id",
        (campaign_id, stage),
    )
    by_seed = {row["seed"]: row["progress_json"] for row in rows}
    return [Progress.from_json(text) for text in by_seed.values()]
