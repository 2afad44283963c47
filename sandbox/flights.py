"""Jobs that were ordered and are not settled, and the slots of the machine that they hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..database.experiments import Job
from ..domains.stages import Stage
from ..evolution.errors import SandboxUnavailable


@dataclass(frozen=True)
class Slots:
    """What the machine gives to experiments."""

    cpus: int
    gpus: tuple[int, ...]
    """Device numbers."""


@dataclass
class Flight:
    """An ordered job, which holds its slots until it is settled."""

    job: Job
    supervisor: int | None
    """Process id; `None` before it has been started, and for an adopted job."""
    cancel_requested: bool = False
    cancelled_at: float | None = None
    progress_seen: int | None = None
    """Which state of progress.json has been stored."""
    sign_of_life: float | None = None
    silent_seconds: float = 0.0
    """Since the last sign of life, as far as we were awake ourselves."""
    looked_at: float = field(default_factory=time.monotonic)

    def listen(self, sign_of_life: float | None) -> float:
        """For how many seconds the supervisor has shown no sign of life."""
        now = time.monotonic()
        between, self.looked_at = min(now - self.looked_at, 1.0), now
        self.silent_seconds = 0.0 if sign_of_life != self.sign_of_life else self.silent_seconds + between
        self.sign_of_life = sign_of_life
        return self.silent_seconds


class Flights:
    """All of them, by the id of the job."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._by_job: dict[int, Flight] = {}

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._by_job.values())

    def __len__(self) -> int:
        return len(self._by_job)

    def add(self, flight: Flight) -> None:
        """In place of an earlier one of the same job."""
        self._by_job[flight.job.id] = flight

    def end(self, job: Job) -> None:
        """Its slots are free."""
        self._by_job.pop(job.id, None)

    def of(self, job: Job) -> Flight | None:
        """Where the job has not been settled."""
        return self._by_job.get(job.id)

    def job_of(self, experiment_id: int) -> Job | None:
        """An experiment has one at a time."""
        return next((flight.job for flight in self if flight.job.experiment_id == experiment_id), None)

    @property
    def free_cpus(self) -> int:
        """Slots that nobody holds."""
        return self._slots.cpus - sum(flight.job.cpus for flight in self)

    def room_for(self, stage: Stage) -> Slots | None:
        """What a stage would get now; `None` while it has to wait.

        Raises:
            SandboxUnavailable: this machine can never run it.
        """
        if stage.gpus > len(self._slots.gpus):
            raise SandboxUnavailable(
                f"Stage {stage.name} needs {stage.gpus} GPU(s), but the engineer has {len(self._slots.gpus)}. Run on a "
                "machine with a GPU, or name its devices in ASI_EVOLVE_GPUS."
            )
        taken = {gpu for flight in self for gpu in flight.job.gpus}
        gpus = [gpu for gpu in self._slots.gpus if gpu not in taken][: stage.gpus]
        cpus = min(stage.cpus, self._slots.cpus)
        return Slots(cpus, tuple(gpus)) if cpus <= self.free_cpus and len(gpus) == stage.gpus else None
