"""How an evaluation ends and what it took. Standard library only: the supervisors import it for every job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Outcome(StrEnum):
    """How an experiment ended. Only `scored` carries a number; a failure never becomes one."""

    SCORED = "scored"
    REJECTED = "rejected"
    CANDIDATE_ERROR = "candidate_error"
    INVALID_OUTPUT = "invalid_output"
    LIMIT = "limit"
    CANCELLED = "cancelled"
    LOST = "lost"
    INFRASTRUCTURE_ERROR = "infrastructure_error"

    @property
    def counts_against_candidate(self) -> bool:
        """False where the candidate was not at fault and the experiment can be retried."""
        return self not in (Outcome.CANCELLED, Outcome.LOST, Outcome.INFRASTRUCTURE_ERROR)


class ExperimentStatus(StrEnum):
    """Where an experiment is on its way; `finished` goes with exactly one `Outcome`."""

    QUEUED = "queued"
    RUNNING = "running"
    QUARANTINED = "quarantined"
    """It has scored, but the score is held while the candidate runs with other seeds, or waits for room to."""
    FINISHED = "finished"


@dataclass(frozen=True)
class ResourceUsage:
    """What an evaluation took, harness and candidate together (the evaluator is not counted)."""

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    gpu_seconds: float = 0.0
    """Wall time times the GPUs held."""
    peak_memory_mb: float = 0.0
    """Memory of the process tree and of the files it keeps in memory."""
    peak_pids: int = 0


LimitName = Literal["cpu", "wall", "memory", "pids", "disk", "file_size", "output", "gpu_memory"]


@dataclass(frozen=True)
class LimitHit:
    """Which bound ended an evaluation."""

    name: LimitName
    used: float
    allowed: float
    unit: Literal["s", "MB", "processes", "files", "levels"]
