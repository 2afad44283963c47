"""Sees one job through: its outputs are made in sandboxes and taken over, the evaluator judges in another, exit.json.

    python -m asi_evolve.sandbox.supervisor JOB_FOLDER --lock-fd N

Started by the daemon in a session of its own, with the job's lock as descriptor N. It talks to nobody. If it is killed,
its sandboxes die with it, and the lock that comes free tells the daemon.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import platform
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..evolution.errors import SandboxUnavailable
from ..evolution.outcomes import LimitHit, Outcome, ResourceUsage
from ..evolution.text import excerpt, inert
from .confinement import Cancelled, Ended, Program, run_confined
from .gpus import models
from .isolation import Isolation, from_fields
from .isolation.kernel import PR_SET_CHILD_SUBREAPER, prctl
from .jobs import JobExit, JobFolder, JobSpec
from .outputs import Refused, keep_artifact, read_metrics
from .production import Failure, Production, exit_sentence, limit_sentence
from .programs import Programs

MAX_REFUSAL = 1200
EVALUATOR_OVER_BOUND = "The evaluator went over a bound"
ROOM_POLL_S = 1.0
SIGN_OF_LIFE_S = 1.0
FULL_BYTES = 1_000_000
"""With less than this free, a disk counts as full."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Work through a job folder; the exit status is 0 whenever exit.json was written."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lock-fd", type=int, required=True)
    options = parser.parse_args(arguments)
    os.set_inheritable(options.lock_fd, False)  # a sandbox must not hold the lock when we are gone
    cancel = Cancel()
    signal.signal(signal.SIGTERM, cancel.request)
    _adopt_orphans()
    folder = JobFolder(options.folder)
    folder.pid.write_text(str(os.getpid()))
    with _signs_of_life(folder):
        publish(folder, Supervision(folder, folder.read_spec(), cancel).run())
    return 0


@contextlib.contextmanager
def _signs_of_life(folder: JobFolder) -> Iterator[None]:
    """Every second, whatever we are at: the daemon wakes or ends a supervisor that shows none."""

    def show(*_: Any) -> None:
        with contextlib.suppress(OSError):
            os.utime(folder.pid)

    signal.signal(signal.SIGALRM, show)
    signal.setitimer(signal.ITIMER_REAL, SIGN_OF_LIFE_S, SIGN_OF_LIFE_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def publish(folder: JobFolder, job_exit: JobExit) -> None:
    """Write the end of the job down, once the disk has room for it: without it the job would count as lost. What the
    candidate wrote gives way, since what counts of it has been taken over. The daemon waits for room as well, and ends
    us where the experiment is cancelled."""
    while True:
        try:
            folder.write_exit(job_exit)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            for written in (folder.out, folder.fit, folder.checkpoint):
                shutil.rmtree(written, ignore_errors=True)
            time.sleep(ROOM_POLL_S)
        else:
            return


class Cancel:
    """Whether the daemon has asked for an end. A flag, since an exception out of nowhere could leave a sandbox half
    started and alive."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, *_: Any) -> None:
        """Signal handler."""
        self.requested = True

    def __call__(self) -> bool:
        """Whether it was requested."""
        return self.requested


def _adopt_orphans() -> None:
    """Become the parent of whatever a dead bwrap leaves: then waiting for a sandbox's first process means waiting for
    all of it, and its CPU time is counted to the last tick."""
    if sys.platform == "linux":
        prctl(PR_SET_CHILD_SUBREAPER, 1)


class Supervision:
    """One job."""

    def __init__(self, folder: JobFolder, spec: JobSpec, cancel: Cancel) -> None:
        self._folder = folder
        self._spec = spec
        self._cancel = cancel
        self._began = time.time()
        self._usage = ResourceUsage()
        self._tier = spec.isolation.get("tier", "none")
        self._stopped_early = ""
        """Why, where it was and is scored all the same."""

    def run(self) -> JobExit:
        """See the job through to its end, whatever that is."""
        try:
            return self._steps(from_fields(self._spec.isolation))
        except Cancelled:
            return self._end(Outcome.CANCELLED, "Cancelled while it ran.")
        except SandboxUnavailable as error:
            return self._end(Outcome.INFRASTRUCTURE_ERROR, str(error))
        except OSError as error:
            full = " The disk is full." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            return self._end(Outcome.INFRASTRUCTURE_ERROR, f"The supervisor could not use a file: {error}.{full}")
        except Exception as error:  # noqa: BLE001 -- a bug of ours must end this job, with its name, and not the queue
            traceback.print_exc()
            return self._end(Outcome.INFRASTRUCTURE_ERROR, f"The supervisor failed: {error!r}.")

    def _steps(self, isolation: Isolation) -> JobExit:
        programs = Programs(self._folder, self._spec)
        production = Production(isolation, self._folder, self._spec, programs, self._cancel)
        try:
            failure = production.see_gpus() or production.generate() or production.produce()
        except Refused as refused:
            failure = Failure(Outcome.INVALID_OUTPUT, str(refused))
        finally:
            self._usage = production.usage
            self._stopped_early = production.stopped_early
        if failure is not None:
            end = self._end(failure.outcome, failure.reason, limit=failure.limit)
        else:
            end = self._judge(isolation, programs.evaluator(), production.outputs)
        return self._of_stopped(end) if self._stopped_early else end

    def _of_stopped(self, end: JobExit) -> JobExit:
        """A run that was stopped had no chance to end well: what it left may be missing or torn."""
        if end.outcome not in (Outcome.INVALID_OUTPUT, Outcome.CANDIDATE_ERROR):
            return end
        reason = f"{self._stopped_early} What it had left could not be scored: {end.reason}"
        return replace(end, outcome=Outcome.REJECTED, reason=reason)

    def _judge(self, isolation: Isolation, evaluator: Program, outputs: list[str]) -> JobExit:
        judged = run_confined(isolation, evaluator, self._cancel)
        artifacts = [f"outputs/{file}" for file in outputs] + [
            f"result/{rule.file}"
            for rule in self._spec.artifacts
            if keep_artifact(self._folder.result, rule.file, rule.max_bytes)
        ]
        return self._verdict(judged, tuple(artifacts))

    def _verdict(self, judged: Ended, artifacts: tuple[str, ...]) -> JobExit:
        """What the evaluator says. Where it fails, that is never the candidate's fault."""
        if judged.limit is not None:
            reason = f"{EVALUATOR_OVER_BOUND}: {limit_sentence(judged.limit)}"
            return self._end(Outcome.INFRASTRUCTURE_ERROR, reason)
        if judged.status != 0:
            reason = f"The evaluator failed: {exit_sentence(judged, self._folder.evaluator_log)}"
            return self._end(Outcome.INFRASTRUCTURE_ERROR, reason)
        try:
            metrics = read_metrics(self._folder.result)
        except Refused as refused:
            return self._end(Outcome.INFRASTRUCTURE_ERROR, str(refused))
        if isinstance(metrics, str):
            return self._end(Outcome.INVALID_OUTPUT, excerpt(metrics, MAX_REFUSAL), artifacts=artifacts)
        return self._end(Outcome.SCORED, "", metrics=metrics, artifacts=artifacts)

    def _end(
        self,
        outcome: Outcome,
        reason: str,
        *,
        limit: LimitHit | None = None,
        metrics: dict[str, float] | None = None,
        artifacts: tuple[str, ...] = (),
    ) -> JobExit:
        if outcome in (Outcome.CANDIDATE_ERROR, Outcome.INVALID_OUTPUT) and self._disk_is_full():
            outcome = Outcome.INFRASTRUCTURE_ERROR
            reason = f"The disk that holds the workspace was full while it ran. {reason}"
        return JobExit(
            token=self._spec.token,
            outcome=outcome,
            reason=inert(reason),  # it quotes candidate and evaluator
            metrics=metrics or {},
            limit=limit,
            usage=self._usage,
            environment=self._environment(),
            artifacts=artifacts,
            started_at=self._began,
            finished_at=time.time(),
        )

    def _disk_is_full(self) -> bool:
        state = os.statvfs(self._folder.path)
        return state.f_bavail * state.f_frsize < FULL_BYTES

    def _environment(self) -> dict[str, str]:
        return {
            **self._spec.interpreter.versions,
            "platform": platform.platform(),
            "cpu": cpu_model(),
            **({"gpu": ", ".join(models(self._spec.gpus))} if self._spec.gpus else {}),
            "tier": self._tier,
            "evaluator_sha256": self._spec.evaluator_sha256,
            **self._spec.provenance,
            **({"stopped_early": self._stopped_early} if self._stopped_early else {}),
        }


def cpu_model() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
