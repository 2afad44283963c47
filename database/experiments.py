"""Experiments: the queue that the engineer daemon works through, and what came of each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..evolution.ids import short_id
from ..evolution.models import Evaluation, Experiment, FormerScore, Quarantine
from ..evolution.outcomes import ExperimentStatus, LimitHit, Outcome, ResourceUsage
from ..evolution.progress import Progress
from ..evolution.statistics import Mean
from . import events, nodes, progress
from .connection import Reader, Row, Transaction


@dataclass(frozen=True)
class Job:
    """One run of one stage with one seed that has been ordered and has not been settled."""

    id: int
    experiment_id: int
    stage: str
    seed: int
    token: str
    folder: str
    """Name of the job's folder in the workspace's `jobs`."""
    cpus: int
    gpus: tuple[int, ...]


async def enqueue(
    tx: Transaction,
    *,
    campaign_id: int,
    node_id: int,
    stage: str,
    seeds: Sequence[int],
    idempotency_key: str | None = None,
) -> int:
    """Order an experiment and return its number."""
    number = await tx.insert(
        "INSERT INTO experiments (campaign_id, node_id, stage, seeds_json, status, idempotency_key, created_at)"
        " VALUES (?, ?, ?, ?, 'queued', ?, ?)",
        (campaign_id, node_id, stage, json.dumps(list(seeds)), idempotency_key, time.time()),
    )
    await tx.execute("UPDATE campaigns SET experiments = experiments + 1 WHERE id = ?", (campaign_id,))
    await nodes.set_status(tx, node_id, ExperimentStatus.QUEUED)
    await events.record(tx, campaign_id, "experiment_queued", short_id("e", number), stage=stage)
    return number


async def with_key(reader: Reader, campaign_id: int, idempotency_key: str) -> Experiment | None:
    """The experiment that was ordered with this key, if there is one."""
    row = await reader.one(
        "SELECT * FROM experiments WHERE campaign_id = ? AND idempotency_key = ?", (campaign_id, idempotency_key)
    )
    return _experiment(row) if row is not None else None


async def get(reader: Reader, number: int) -> Experiment:
    """The experiment of that number.

    Raises:
        NotFound: there is none.
    """
    return (await many(reader, [number]))[0]


async def many(reader: Reader, numbers: Sequence[int]) -> list[Experiment]:
    """Experiments in the order asked for.

    Raises:
        NotFound: one of them does not exist.
    """
    rows = await reader.numbered("SELECT * FROM experiments WHERE id", numbers, "e", "campaign_status lists what runs.")
    return [_experiment(row) for row in rows]


async def of_node(reader: Reader, node_id: int) -> list[Experiment]:
    """Every experiment of a node, oldest first."""
    rows = await reader.all("SELECT * FROM experiments WHERE node_id = ? ORDER BY id", (node_id,))
    return [_experiment(row) for row in rows]


_UNFINISHED = "INDEXED BY experiments_by_status WHERE status <> 'finished'"
"""Of itself SQLite would walk all experiments in the order asked for, to spare itself sorting these few."""


async def unfinished(reader: Reader, campaign_id: int | None = None, limit: int = 1000) -> list[Experiment]:
    """Queued and running experiments, oldest first."""
    rows = await reader.all(
        f"SELECT * FROM experiments {_UNFINISHED} AND (?1 IS NULL OR campaign_id = ?1) ORDER BY id LIMIT ?2",
        (campaign_id, limit),
    )
    return [_experiment(row) for row in rows]


async def held(reader: Reader, campaign_id: int, limit: int) -> list[Experiment]:
    """Experiments whose score is in quarantine, oldest first."""
    rows = await reader.all(
        f"SELECT * FROM experiments {_UNFINISHED} AND status = 'quarantined' AND campaign_id = ? ORDER BY id LIMIT ?",
        (campaign_id, limit),
    )
    return [_experiment(row) for row in rows]


async def any_unfinished(reader: Reader) -> bool:
    """Whether there is anything for a daemon to do."""
    return await reader.value("SELECT 1 FROM experiments WHERE status <> 'finished' LIMIT 1") is not None


async def recent_ids(reader: Reader, limit: int) -> list[int]:
    """Numbers of the newest experiments of the workspace, newest first."""
    return [row["id"] for row in await reader.all("SELECT id FROM experiments ORDER BY id DESC LIMIT ?", (limit,))]


async def queued(reader: Reader, limit: int) -> list[Experiment]:
    """The next experiments in line: those in the queue, and held ones whose next repeat waits for room."""
    rows = await reader.all(
        f"SELECT * FROM experiments AS e {_UNFINISHED} AND (status = 'queued' OR status = 'quarantined'"
        " AND NOT EXISTS (SELECT 1 FROM jobs WHERE experiment_id = e.id)) ORDER BY id LIMIT ?",
        (limit,),
    )
    return [_experiment(row) for row in rows]


async def start(tx: Transaction, number: int) -> bool:
    """Take an experiment off the queue; false where it is no longer there. A held one stays held."""
    experiment = await get(tx, number)
    if experiment.status is ExperimentStatus.QUEUED:
        await tx.execute(
            "UPDATE experiments SET status = 'running', reason = '', started_at = ifnull(started_at, ?) WHERE id = ?",
            (time.time(), number),
        )
        await nodes.set_status(tx, experiment.node_id, ExperimentStatus.RUNNING)
        await events.record(tx, experiment.campaign_id, "experiment_started", short_id("e", number))
    return experiment.status in (ExperimentStatus.QUEUED, ExperimentStatus.QUARANTINED)


async def requeue(tx: Transaction, number: int) -> None:
    """Send a running experiment back to the queue, between two runs, to wait for a slot. A held one stays held."""
    await tx.execute(
        "UPDATE experiments SET status = CASE status WHEN 'running' THEN 'queued' ELSE status END,"
        " current_stage = NULL WHERE id = ?",
        (number,),
    )


async def wait(tx: Transaction, number: int, reason: str) -> None:
    """Say what an experiment in the queue waits for, where that is news: a commit makes every daemon look again."""
    await tx.execute(
        "UPDATE experiments SET reason = ? WHERE id = ? AND status = 'queued' AND reason <> ?", (reason, number, reason)
    )


async def hold(tx: Transaction, number: int, quarantine: Quarantine) -> None:
    """Put the score of a running experiment into quarantine. Its node has no score meanwhile."""
    experiment = await get(tx, number)
    await tx.execute(
        "UPDATE experiments SET status = 'quarantined', reason = ?, quarantine_json = ? WHERE id = ?",
        (_while_held(quarantine), quarantine.model_dump_json(), number),
    )
    await nodes.hold(tx, experiment.node_id)
    await events.record(
        tx,
        experiment.campaign_id,
        "experiment_quarantined",
        short_id("e", number),
        node=short_id("n", experiment.node_id),
        cause=quarantine.cause,
        score=quarantine.score,
    )


def _while_held(quarantine: Quarantine) -> str:
    count = len(quarantine.seeds)
    return f"Held: {quarantine.reason}. It runs again with {count} other seed{'s' if count > 1 else ''} first."


async def order_job(
    tx: Transaction, *, experiment_id: int, stage: str, seed: int, token: str, cpus: int, gpus: Sequence[int]
) -> Job:
    """Note the next run of an experiment, before its supervisor starts."""
    number = await tx.insert(
        "INSERT INTO jobs (experiment_id, stage, seed, token, folder, cpus, gpus_json, created_at)"
        " VALUES (?, ?, ?, ?, '', ?, ?, ?)",
        (experiment_id, stage, seed, token, cpus, json.dumps(list(gpus)), time.time()),
    )
    folder = f"e{experiment_id}-{stage}-{seed}-{number}"
    await tx.execute("UPDATE jobs SET folder = ? WHERE id = ?", (folder, number))
    await tx.execute("UPDATE experiments SET current_stage = ? WHERE id = ?", (stage, experiment_id))
    return Job(number, experiment_id, stage, seed, token, folder, cpus, tuple(gpus))


async def jobs(reader: Reader) -> list[Job]:
    """Every job that has not been settled, oldest first."""
    return [
        Job(
            row["id"],
            row["experiment_id"],
            row["stage"],
            row["seed"],
            row["token"],
            row["folder"],
            row["cpus"],
            tuple(json.loads(row["gpus_json"])),
        )
        for row in await reader.all("SELECT * FROM jobs ORDER BY id")
    ]


async def settle_job(
    tx: Transaction,
    job: Job,
    evaluation: Evaluation,
    logs: Mapping[str, str],
    artifacts: Sequence[StoredFile],
    told: Progress | None = None,
    *,
    result_key: str | None = None,
    cached_from: int | None = None,
) -> bool:
    """Store what came of a job, once: false where somebody has settled it already.

    Args:
        result_key: what the result hangs on, where other runs may be answered from it.
        cached_from: the evaluation that this one was answered from.
    """
    if not await tx.execute("DELETE FROM jobs WHERE id = ? AND token = ?", (job.id, job.token)):
        return False
    usage = evaluation.usage
    number = await tx.insert(
        "INSERT INTO evaluations (experiment_id, stage, seed, outcome, reason, score, limit_json, cpu_seconds,"
        " wall_seconds, gpu_seconds, peak_memory_mb, peak_pids, environment_json, started_at, finished_at, result_key,"
        " cached_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            job.experiment_id,
            job.stage,
            job.seed,
            evaluation.outcome,
            evaluation.reason,
            evaluation.score,
            json.dumps(asdict(evaluation.limit)) if evaluation.limit is not None else None,
            usage.cpu_seconds,
            usage.wall_seconds,
            usage.gpu_seconds,
            usage.peak_memory_mb,
            usage.peak_pids,
            json.dumps(evaluation.environment),
            evaluation.started_at,
            evaluation.finished_at,
            result_key,
            cached_from,
        ),
    )
    await tx.many(
        "INSERT INTO metrics (evaluation_id, name, value) VALUES (?, ?, ?)",
        [(number, name, value) for name, value in evaluation.metrics.items()],
    )
    await tx.many(
        "INSERT INTO logs (evaluation_id, stream, text) VALUES (?, ?, ?)",
        [(number, stream, text) for stream, text in logs.items() if text],
    )
    await tx.many(
        "INSERT INTO artifacts (evaluation_id, name, mime_type, sha256, bytes) VALUES (?, ?, ?, ?, ?)",
        [(number, file.name, file.mime_type, file.sha256, file.bytes) for file in artifacts],
    )
    if told is not None:
        await progress.store(tx, number, told)
    await tx.execute(
        "UPDATE campaigns SET cpu_seconds = cpu_seconds + ?, gpu_seconds = gpu_seconds + ?"
        " WHERE id = (SELECT campaign_id FROM experiments WHERE id = ?)",
        (usage.cpu_seconds, usage.gpu_seconds, job.experiment_id),
    )
    return True


async def finish(tx: Transaction, number: int, outcome: Outcome, reason: str, score: float | None) -> None:
    """Close an experiment, once: a finished one stays as it is."""
    experiment = await get(tx, number)
    if not await tx.execute(
        "UPDATE experiments SET status = 'finished', outcome = ?, reason = ?, score = ?, current_stage = NULL,"
        " finished_at = ? WHERE id = ? AND status <> 'finished'",
        (outcome, reason, score, time.time(), number),
    ):
        return
    if experiment.quarantine is not None:
        await _restore(tx, experiment.node_id, experiment.quarantine.former)
    await nodes.conclude(tx, experiment.node_id, outcome)
    await events.record(
        tx,
        experiment.campaign_id,
        "experiment_finished",
        short_id("e", number),
        node=short_id("n", experiment.node_id),
        outcome=outcome,
        score=score,
    )


async def _restore(tx: Transaction, node_id: int, former: FormerScore | None) -> None:
    """The end of a quarantine begins from where the node stood; what the outcome means for that is not told here."""
    if former is not None:
        score = Mean(former.value, former.stderr, former.seeds)
        await nodes.set_score(tx, node_id, former.stage, score, former.judging)


async def cancel(tx: Transaction, number: int) -> Experiment:
    """End an experiment that waits now; ask the daemon to end one with a job. A finished one stays as it is."""
    experiment = await get(tx, number)
    has_job = await tx.value("SELECT 1 FROM jobs WHERE experiment_id = ?", (number,)) is not None
    if experiment.status in (ExperimentStatus.QUEUED, ExperimentStatus.QUARANTINED) and not has_job:
        await finish(tx, number, Outcome.CANCELLED, "Cancelled while it was queued.", None)
    elif experiment.status is not ExperimentStatus.FINISHED:
        await tx.execute("UPDATE experiments SET cancel_requested = 1 WHERE id = ?", (number,))
    return await get(tx, number)


@dataclass(frozen=True)
class StoredEvaluation:
    """An evaluation with the number that its logs and artifacts hang on."""

    id: int
    evaluation: Evaluation


async def evaluations(reader: Reader, experiment_ids: Sequence[int]) -> list[StoredEvaluation]:
    """Every settled run of some experiments, in order."""
    marks = ", ".join("?" * len(experiment_ids))
    rows = await reader.all(
        "SELECT v.*, o.experiment_id AS answered_by FROM evaluations AS v LEFT JOIN evaluations AS o"
        f" ON o.id = v.cached_from WHERE v.experiment_id IN ({marks}) ORDER BY v.id",
        list(experiment_ids),
    )
    marks = ", ".join("?" * len(rows))
    values = await reader.all(
        f"SELECT * FROM metrics WHERE evaluation_id IN ({marks}) ORDER BY evaluation_id, name",
        [row["id"] for row in rows],
    )
    metrics: dict[int, dict[str, float]] = {}
    for value in values:
        metrics.setdefault(value["evaluation_id"], {})[value["name"]] = value["value"]
    return [StoredEvaluation(row["id"], _evaluation(row, metrics.get(row["id"], {}))) for row in rows]


async def runs_at_target(reader: Reader, numbers: Sequence[int]) -> dict[int, int]:
    """Experiment to how many runs of the stage that it aims at have been settled."""
    marks = ", ".join("?" * len(numbers))
    rows = await reader.all(
        "SELECT e.id, count(*) AS runs FROM experiments AS e JOIN evaluations AS v ON v.experiment_id = e.id"
        f" AND v.stage = e.stage WHERE e.id IN ({marks}) GROUP BY e.id",
        list(numbers),
    )
    return {row["id"]: row["runs"] for row in rows}


COUNTS = "(e.quarantine_json IS NULL OR e.outcome = 'scored')"
"""Of an experiment `e`: whether the scores of its runs count, that is, were never held or have been released."""
_THAT_COUNT = (
    "FROM evaluations AS v JOIN experiments AS e ON e.id = v.experiment_id"
    f" WHERE e.node_id = ? AND v.stage = ? AND v.score IS NOT NULL AND {COUNTS} ORDER BY v.id"
)


async def seed_scores(reader: Reader, node_id: int, stage: str) -> dict[int, float]:
    """Seed to score of a node at one stage; the latest run counts where a seed ran twice. What was held and has not
    been released does not count."""
    rows = await reader.all(f"SELECT v.seed, v.score {_THAT_COUNT}", (node_id, stage))
    return {row["seed"]: row["score"] for row in rows}


async def beaten_scores(reader: Reader, campaign_id: int, stage: str, score: float, *, but: int) -> list[float]:
    """What the other scored nodes of a campaign scored at a stage, also those that have since scored at a dearer one;
    none where a node that stands there has at least `score`, which an index tells without a look at all of them.
    Judges have no share in any of these scores."""
    best = await reader.value(
        "SELECT metric_score FROM nodes WHERE campaign_id = ? AND metric_score IS NOT NULL AND score_stage = ?"
        " AND id <> ? ORDER BY metric_score DESC LIMIT 1",
        (campaign_id, stage, but),
    )
    if best is None:  # nobody judges here
        best = await reader.value(
            "SELECT score FROM nodes WHERE campaign_id = ? AND score IS NOT NULL AND score_stage = ? AND id <> ?"
            " ORDER BY score DESC LIMIT 1",
            (campaign_id, stage, but),
        )
    if best is not None and best >= score:
        return []
    rows = await reader.all(
        "SELECT avg(v.score) AS score FROM experiments AS e JOIN evaluations AS v ON v.experiment_id = e.id"
        " JOIN nodes AS n ON n.id = e.node_id WHERE e.campaign_id = ? AND v.stage = ? AND v.score IS NOT NULL"
        f" AND {COUNTS} AND n.score IS NOT NULL AND n.id <> ? GROUP BY n.id",
        (campaign_id, stage, but),
    )
    return [row["score"] for row in rows]


async def best_metric(
    reader: Reader, campaign_id: int, stage: str, metric: str, higher_is_better: bool, *, but: int
) -> float | None:
    """The best that any other scored node of a campaign came to in a metric at a stage, as the mean over its runs that
    count; `None` where none tells it."""
    return await reader.value(
        f"SELECT {'max' if higher_is_better else 'min'}(value) FROM (SELECT avg(m.value) AS value FROM experiments AS e"
        " JOIN evaluations AS v ON v.experiment_id = e.id JOIN metrics AS m ON m.evaluation_id = v.id AND m.name = ?"
        " JOIN nodes AS n ON n.id = e.node_id WHERE e.campaign_id = ? AND v.stage = ? AND v.score IS NOT NULL"
        f" AND {COUNTS} AND n.score IS NOT NULL AND n.id <> ? GROUP BY n.id)",
        (metric, campaign_id, stage, but),
    )


async def scoring_runs(reader: Reader, node_id: int, stage: str) -> list[StoredEvaluation]:
    """The runs behind `seed_scores`, one for each seed, in order of the seeds' first runs."""
    rows = await reader.all(f"SELECT v.id, v.seed, v.experiment_id {_THAT_COUNT}", (node_id, stage))
    latest = {row["seed"]: row["id"] for row in rows}
    found = await evaluations(reader, list({row["experiment_id"]: None for row in rows}))
    by_id = {stored.id: stored for stored in found}
    return [by_id[number] for number in latest.values()]


async def log(reader: Reader, evaluation_id: int) -> dict[str, str]:
    """Stream to text of what an evaluation printed."""
    rows = await reader.all("SELECT stream, text FROM logs WHERE evaluation_id = ?", (evaluation_id,))
    return {row["stream"]: row["text"] for row in rows}


@dataclass(frozen=True)
class StoredFile:
    """A file in the workspace's content-addressed store."""

    name: str
    mime_type: str
    sha256: str
    bytes: int


async def artifacts(reader: Reader, evaluation_id: int) -> list[StoredFile]:
    """Files that an evaluation left."""
    rows = await reader.all("SELECT * FROM artifacts WHERE evaluation_id = ? ORDER BY name", (evaluation_id,))
    return [StoredFile(row["name"], row["mime_type"], row["sha256"], row["bytes"]) for row in rows]


def _experiment(row: Row) -> Experiment:
    return Experiment(
        id=row["id"],
        node_id=row["node_id"],
        campaign_id=row["campaign_id"],
        stage=row["stage"],
        seeds=tuple(json.loads(row["seeds_json"])),
        status=ExperimentStatus(row["status"]),
        outcome=Outcome(row["outcome"]) if row["outcome"] is not None else None,
        reason=row["reason"],
        score=row["score"],
        current_stage=row["current_stage"],
        quarantine=Quarantine.model_validate_json(row["quarantine_json"]) if row["quarantine_json"] else None,
        cancel_requested=bool(row["cancel_requested"]),
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def _evaluation(row: Row, metrics: dict[str, float]) -> Evaluation:
    limit: dict[str, Any] | None = json.loads(row["limit_json"]) if row["limit_json"] is not None else None
    return Evaluation(
        experiment_id=row["experiment_id"],
        stage=row["stage"],
        seed=row["seed"],
        outcome=Outcome(row["outcome"]),
        reason=row["reason"],
        score=row["score"],
        metrics=metrics,
        limit=LimitHit(**limit) if limit is not None else None,
        usage=ResourceUsage(
            cpu_seconds=row["cpu_seconds"],
            wall_seconds=row["wall_seconds"],
            gpu_seconds=row["gpu_seconds"],
            peak_memory_mb=row["peak_memory_mb"],
            peak_pids=row["peak_pids"],
        ),
        environment=json.loads(row["environment_json"]),
        cached_from=row["answered_by"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
