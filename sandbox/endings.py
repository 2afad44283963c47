"""How a job ends, as it is stored: what its supervisor wrote, or what is said for one that wrote nothing."""

from __future__ import annotations

import contextlib
import time

from ..database.experiments import Job
from ..domains.loader import Domain
from ..evolution.models import Evaluation
from ..evolution.outcomes import Outcome, ResourceUsage
from .jobs import JobExit, JobFolder


def as_evaluation(job: Job, job_exit: JobExit, domain: Domain | None) -> Evaluation:
    """The end of a job as it is stored; its score is that of the domain's fitness, `None` without a domain."""
    outcome, reason, score = job_exit.outcome, job_exit.reason, None
    if outcome is Outcome.SCORED and domain is not None:
        fitness = domain.spec.fitness
        if fitness.metric in job_exit.metrics:
            score = fitness.score(job_exit.metrics)
        else:
            outcome = Outcome.INFRASTRUCTURE_ERROR
            reason = f"Expected the evaluator to report {fitness.metric}, but it reported {sorted(job_exit.metrics)}."
    return Evaluation(
        experiment_id=job.experiment_id,
        stage=job.stage,
        seed=job.seed,
        outcome=outcome,
        reason=reason,
        score=score,
        metrics=job_exit.metrics,
        limit=job_exit.limit,
        usage=job_exit.usage,
        environment=job_exit.environment,
        started_at=job_exit.started_at,
        finished_at=job_exit.finished_at,
    )


def ended(job: Job, outcome: Outcome, reason: str) -> JobExit:
    """The end of a job that no supervisor wrote."""
    now = time.time()
    return JobExit(job.token, outcome, reason, {}, None, ResourceUsage(), {}, (), now, now)


def lost(job: Job, detail: str) -> JobExit:
    """The end of a job whose supervisor died."""
    return ended(
        job,
        Outcome.LOST,
        "The supervisor of this job died (killed, or the machine went down). promote_node runs it again."
        + (f" Its last words: {detail}" if detail else ""),
    )


def last_words(folder: JobFolder) -> str:
    """What the supervisor said last."""
    try:
        return folder.log.read_text(errors="backslashreplace")[-500:].strip()
    except OSError:
        return ""


def logs(folder: JobFolder) -> dict[str, str]:
    """Stream to what the programs of a job printed."""
    logs: dict[str, str] = {}
    for stream, path in folder.logs().items():
        with contextlib.suppress(OSError):  # not there, or being removed by somebody
            logs[stream] = path.read_text(encoding="utf-8", errors="backslashreplace").replace("\0", "\\x00")
    return logs
