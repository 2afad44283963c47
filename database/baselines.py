"""What the baseline of a campaign came to at its stages: stored once, read by every score that is relative to it."""

from __future__ import annotations

import json
import time

from ..evolution.ids import short_id
from ..evolution.models import Experiment, Metrics
from ..evolution.relative import Statistic, Statistics
from . import events
from .connection import Reader, Transaction


async def statistics(reader: Reader, campaign_id: int, stage: str) -> dict[str, Statistic]:
    """Metric to what the baseline came to; empty where it has not been measured at that stage."""
    rows = await reader.all(
        "SELECT * FROM baseline_statistics WHERE campaign_id = ? AND stage = ? ORDER BY metric", (campaign_id, stage)
    )
    return {
        row["metric"]: Statistic(
            row["mean"], row["sd"], {int(seed): value for seed, value in json.loads(row["by_seed_json"]).items()}
        )
        for row in rows
    }


async def measured_stages(reader: Reader, campaign_id: int) -> set[str]:
    """Stages at which the baseline has been measured."""
    rows = await reader.all("SELECT DISTINCT stage FROM baseline_statistics WHERE campaign_id = ?", (campaign_id,))
    return {row["stage"] for row in rows}


async def store(tx: Transaction, experiment: Experiment, stage: str, found: Statistics) -> None:
    """Keep what an experiment of the baseline has measured. Once: the caller has looked before."""
    await tx.many(
        "INSERT INTO baseline_statistics (campaign_id, stage, metric, mean, sd, by_seed_json, experiment_id,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                experiment.campaign_id,
                stage,
                name,
                known.mean,
                known.sd,
                json.dumps(dict(known.by_seed)),
                experiment.id,
                time.time(),
            )
            for name, known in found.items()
        ],
    )
    seeds = max(len(known.by_seed) for known in found.values())
    await events.record(
        tx, experiment.campaign_id, "baseline_measured", short_id("e", experiment.id), stage=stage, seeds=seeds
    )


async def score_run(tx: Transaction, evaluation_id: int, metric: str, metrics: Metrics, score: float) -> None:
    """Give a run of the baseline, which had to wait for what it measures itself, its score."""
    await tx.execute("UPDATE evaluations SET score = ? WHERE id = ? AND score IS NULL", (score, evaluation_id))
    await tx.execute(
        "INSERT OR REPLACE INTO metrics (evaluation_id, name, value) VALUES (?, ?, ?)",
        (evaluation_id, metric, metrics[metric]),
    )
