"""How a job ends, as it is stored: what its supervisor wrote, or what is said for one that wrote nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..database.experiments import Job, StoredFile
from ..database.results import KnownResult
from ..domains.loader import Domain
from ..domains.stages import Stage
from ..evolution.errors import DomainError
from ..evolution.models import Evaluation
from ..evolution.outcomes import Outcome, ResourceUsage
from ..evolution.progress import Progress
from ..evolution.relative import Statistics
from .jobs import JobExit, JobFolder
from .measuring import scored


def as_evaluation(
    job: Job, job_exit: JobExit, domain: Domain | None, known: Statistics = MappingProxyType({}), *, own: bool = False
) -> Evaluation:
    """The end of a job as it is stored; its score is that of the domain's fitness, `None` without a domain.

    Args:
        known: what the baseline came to at this stage, where it has been measured.
        own: whether this is a run of the baseline itself.
    """
    outcome, reason, metrics, score = job_exit.outcome, job_exit.reason, job_exit.metrics, None
    if outcome is Outcome.SCORED and domain is not None:
        try:
            metrics, score = scored(domain.spec, job.stage, metrics, job.seed, known, own=own)
        except DomainError as error:
            outcome, reason = Outcome.INFRASTRUCTURE_ERROR, str(error)
    return Evaluation(
        experiment_id=job.experiment_id,
        stage=job.stage,
        seed=job.seed,
        outcome=outcome,
        reason=reason,
        score=score,
        metrics=metrics,
        limit=job_exit.limit,
        usage=job_exit.usage,
        environment=job_exit.environment,
        started_at=job_exit.started_at,
        finished_at=job_exit.finished_at,
    )


@dataclass(frozen=True)
class Left:
    """What a job left beside its numbers."""

    logs: Mapping[str, str]
    artifacts: Sequence[StoredFile]
    progress: Progress | None

    @classmethod
    def by(cls, answered: KnownResult) -> Left:
        """What the run left that a job was answered from."""
        return cls(answered.logs, answered.artifacts, answered.progress)


def repeated(job: Job, answered: KnownResult, stage: Stage, domain: Domain) -> JobExit:
    """The end of a job that took nothing, since an earlier run has its result. What is relative to the baseline of
    that run's campaign is computed anew."""
    told = dict(answered.evaluation.metrics)
    if stage.baseline_seeds:
        told.pop(domain.spec.fitness.metric, None)
    end = ended(job, Outcome.SCORED, "")
    return replace(end, metrics=told, environment=answered.evaluation.environment)


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
