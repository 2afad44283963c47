"""Runs jobs of a domain without a workspace: real job folders and real supervisors, several at once, for a check."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ..domains.loader import Domain
from ..domains.stages import Stage
from ..evolution.outcomes import Outcome, ResourceUsage
from .jobs import JobExit, JobFolder, write_atomically
from .preparation import NO_COMPARISON, Comparison, Grant, lay_down_job
from .processes import end_orphans, remove, start_supervisor

SEED = 0
WAIT_SLICE_S = 1.0
CANCEL_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Ran:
    """How a job ended, and the outputs that were taken over."""

    end: JobExit
    outputs: dict[str, bytes]


class CheckBench:
    """Jobs of one domain at one stage, each in a folder of its own beneath `root`, removed once it is read."""

    def __init__(
        self,
        root: Path,
        domain: Domain,
        stage: Stage,
        grant: Grant,
        provenance: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._provenance = provenance
        self._root = root
        self._domain = domain
        self.stage = stage
        self._grant = grant
        self._lock = threading.Lock()
        self._supervisors: set[subprocess.Popen[bytes]] = set()
        self._stopped_at: float | None = None

    def run(
        self,
        files: Mapping[str, str],
        instance: str | None = None,
        seed: int = SEED,
        comparison: Comparison = NO_COMPARISON,
    ) -> Ran:
        """Harness and candidate, then the evaluator."""
        return self._work_through(self._lay_down(files, instance, seed, comparison))

    def judge(
        self,
        outputs: Mapping[str, bytes],
        instance: str | None = None,
        wall_seconds: float | None = None,
        seed: int = SEED,
        comparison: Comparison = NO_COMPARISON,
    ) -> JobExit:
        """The evaluator alone, on output files as a candidate could have left them.

        Args:
            wall_seconds: a bound on the evaluator below the stage's own.
        """
        folder = self._lay_down(None, instance, seed, comparison)
        for file, data in outputs.items():
            (folder.out / file).parent.mkdir(parents=True, exist_ok=True)
            (folder.out / file).write_bytes(data)
        if wall_seconds is not None:
            spec = folder.read_spec()
            limits = spec.evaluator_limits
            tighter = replace(limits, wall_seconds=min(limits.wall_seconds, wall_seconds))
            write_atomically(folder.spec, replace(spec, evaluator_limits=tighter).to_json().encode())
        return self._work_through(folder).end

    def stop(self) -> None:
        """End what runs, and let nothing more start."""
        with self._lock:
            self._stopped_at = time.monotonic()
            for supervisor in self._supervisors:
                supervisor.send_signal(signal.SIGTERM)

    def _lay_down(
        self, files: Mapping[str, str] | None, instance: str | None, seed: int, comparison: Comparison
    ) -> JobFolder:
        token = uuid.uuid4().hex
        folder = JobFolder(self._root / token)
        lay_down_job(
            folder,
            domain=self._domain,
            instance=instance,
            stage=self.stage,
            seed=seed,
            files=files,
            token=token,
            grant=self._grant,
            comparison=comparison,
            provenance=self._provenance,
        )
        return folder

    def _work_through(self, folder: JobFolder) -> Ran:
        try:
            if not self._supervise(folder):
                return Ran(_ended(Outcome.CANCELLED, "The check was stopped."), {})
            end = folder.read_exit()
            if end is None:
                end_orphans(folder.path.name)
                return Ran(_ended(Outcome.LOST, f"The supervisor died: {_last_words(folder)}"), {})
            prefix = "outputs/"
            taken = [path.removeprefix(prefix) for path in end.artifacts if path.startswith(prefix)]
            return Ran(end, {file: (folder.outputs / file).read_bytes() for file in taken})
        finally:
            asyncio.run(remove(folder.path))

    def _supervise(self, folder: JobFolder) -> bool:
        """Run the supervisor to its end; false where the bench has been stopped before."""
        with self._lock:
            if self._stopped_at is not None:
                return False
            supervisor = start_supervisor(folder)
            self._supervisors.add(supervisor)
        self._wait(supervisor)
        with self._lock:
            self._supervisors.remove(supervisor)
        return True

    def _wait(self, supervisor: subprocess.Popen[bytes]) -> None:
        """Until it has ended; one that does not clean up when it is stopped is killed."""
        while True:
            try:
                supervisor.wait(WAIT_SLICE_S)
            except subprocess.TimeoutExpired:
                if self._stopped_at is not None and time.monotonic() - self._stopped_at > CANCEL_PATIENCE_S:
                    supervisor.kill()
            else:
                return


def _ended(outcome: Outcome, reason: str) -> JobExit:
    return JobExit("", outcome, reason, {}, None, ResourceUsage(), {}, (), 0.0, 0.0)


def _last_words(folder: JobFolder) -> str:
    log = folder.path / "supervisor.log"
    return log.read_text(errors="backslashreplace")[-500:].strip() or "it left no word."
