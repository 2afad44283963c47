"""Sees one job through: harness in a sandbox, outputs taken over, evaluator in another sandbox, exit.json.

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
from .isolation import Isolation, Mount, Request, from_fields, marks
from .isolation.kernel import PR_SET_CHILD_SUBREAPER, prctl
from .jobs import JobExit, JobFolder, JobSpec, Limits
from .outputs import Refused, keep_artifact, read_metrics, take_over
from .progress import ProgressWatch

LAST_LINE = 500
REFUSALS = ("Permission denied", "Operation not permitted")
WITHOUT_NAMESPACES = {
    "landlock": "Perhaps it is this: tier landlock shares /dev/shm, network and process table with the host, so "
    "a candidate may use no shared memory (multiprocessing locks and pools, DataLoader workers), no sockets (gloo), "
    "and no chmod. With bubblewrap or user namespaces it has its own: asi-evolve doctor tells what is in their way.",
}
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
            shutil.rmtree(folder.out, ignore_errors=True)
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
        self._sandboxes = 0
        self._tier = spec.isolation.get("tier", "none")
        self._progress = ProgressWatch(folder.out, folder.progress, spec.stop_rules)
        self._stopped_early = ""

    def run(self) -> JobExit:
        """See the job through to its end, whatever that is."""
        try:
            return self._steps(from_fields(self._spec.isolation))
        except Cancelled:
            return self._end(Outcome.CANCELLED, "Cancelled while it ran.")
        except Refused as refused:
            return self._end(Outcome.INVALID_OUTPUT, str(refused))
        except SandboxUnavailable as error:
            return self._end(Outcome.INFRASTRUCTURE_ERROR, str(error))
        except OSError as error:
            full = " The disk is full." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            return self._end(Outcome.INFRASTRUCTURE_ERROR, f"The supervisor could not use a file: {error}.{full}")
        except Exception as error:  # noqa: BLE001 -- a bug of ours must end this job, with its name, and not the queue
            traceback.print_exc()
            return self._end(Outcome.INFRASTRUCTURE_ERROR, f"The supervisor failed: {error!r}.")

    def _steps(self, isolation: Isolation) -> JobExit:
        failed = self._make_outputs(isolation, self._spec.harness) if self._spec.harness is not None else None
        if failed is not None:
            return failed
        return self._judge_early(isolation, self._stopped_early) if self._stopped_early else self._judge(isolation)

    def _make_outputs(self, isolation: Isolation, harness: str) -> JobExit | None:
        """Run harness and candidate; an end where they failed."""
        folder = self._folder
        program = Program(self._harness_request(harness), self._spec.limits, folder.stdout, folder.stderr, folder.out)
        try:
            ended = run_confined(isolation, program, self._cancel, self._progress.observe)
        finally:
            self._progress.finish()
        self._usage = replace(ended.usage, gpu_seconds=ended.usage.wall_seconds * len(self._spec.gpus))
        if ended.limit is not None:
            return self._end(Outcome.LIMIT, limit_sentence(ended.limit), limit=ended.limit)
        if ended.status != 0 and not ended.stopped:
            return self._end(Outcome.CANDIDATE_ERROR, exit_sentence(ended, self._folder.stderr, self._tier))
        stop = self._progress.stop
        if stop is not None and stop.outcome == "reject":
            # Also where it came to its end before we looked: else chance would decide.
            return self._end(Outcome.REJECTED, stop.reason)
        self._stopped_early = stop.reason if stop is not None and ended.stopped else ""
        return None

    def _judge_early(self, isolation: Isolation, why: str) -> JobExit:
        """Judge what a stopped run has left. It had no chance to end well, so what is missing or torn rejects it."""
        try:
            early = self._judge(isolation)
        except Refused as refused:
            return self._end(Outcome.REJECTED, f"{why} What it had left cannot be evaluated: {refused}")
        if early.outcome is Outcome.INVALID_OUTPUT:
            reason = f"{why} What it had left was refused: {early.reason}"
            return self._end(Outcome.REJECTED, reason, artifacts=early.artifacts)
        return early

    def _judge(self, isolation: Isolation) -> JobExit:
        """Take over what lies in out/, wherever it came from, and let the evaluator judge it."""
        outputs = take_over(self._folder.out, self._folder.outputs, self._spec.outputs)
        evaluator = Program(
            self._evaluator_request(),
            self._spec.evaluator_limits,
            self._folder.evaluator_log,
            None,
            self._folder.result,
        )
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

    def _harness_request(self, harness: str) -> Request:
        folder = self._folder
        return self._request(
            f"/job/harness/{harness}",
            self._spec.limits,
            Mount(str(folder.candidate), "/job/candidate"),
            Mount(str(folder.harness), "/job/harness"),
            Mount(str(folder.out), "/job/out", writable=True),
            gpus=self._spec.gpus,
            hidden=(self._spec.hidden_data,) if self._spec.hidden_data is not None else (),
        )

    def _evaluator_request(self) -> Request:
        folder = self._folder
        mounts = [
            Mount(str(folder.evaluator), "/job/evaluator"),
            Mount(str(folder.outputs), "/job/outputs"),
            Mount(str(folder.result), "/job/result", writable=True),
        ]
        if self._spec.hidden_data is not None:
            mounts.append(Mount(self._spec.hidden_data, "/job/hidden"))
        return self._request(f"/job/evaluator/{self._spec.evaluator}", self._spec.evaluator_limits, *mounts)

    def _request(
        self, script: str, limits: Limits, *mounts: Mount, gpus: tuple[int, ...] = (), hidden: tuple[str, ...] = ()
    ) -> Request:
        hosts = self._folder.path / "hosts"
        hosts.write_text("127.0.0.1 localhost sandbox\n")  # workers that meet over loopback ask for it by name
        common = [Mount(str(self._folder.params), "/job/params.json"), Mount(str(hosts), "/etc/hosts")]
        if self._spec.public_data is not None:
            common.append(Mount(self._spec.public_data, "/job/data"))
        self._sandboxes += 1
        workplace = self._folder.path / f"sandbox-{self._sandboxes}"
        workplace.mkdir(mode=0o755)
        return Request(
            interpreter=self._spec.interpreter,
            script=script,
            mounts=(*common, *mounts),
            tmp_bytes=int(limits.disk_mb * 1e6),
            threads=self._spec.threads,
            gpus=gpus,
            workplace=str(workplace),
            hidden=hidden,
            mark=marks.first_mark(self._spec.token) + self._sandboxes,
            pids=limits.pids,
        )

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
            **({"gpu": ", ".join(gpu_models(self._spec.gpus))} if self._spec.gpus else {}),
            "tier": self._tier,
            "evaluator_sha256": self._spec.evaluator_sha256,
            **self._spec.provenance,
            **({"stopped_early": self._stopped_early} if self._stopped_early else {}),
        }


def limit_sentence(limit: LimitHit) -> str:
    """Which bound was passed, in words."""
    return f"Over the bound on {limit.name}: used {limit.used:.4g} of {limit.allowed:.4g} {limit.unit}."


def exit_sentence(ended: Ended, log: Path, tier: str = "") -> str:
    """How a program left, with the last line that it wrote to its log: where Python names an exception."""
    status = ended.status
    if status is not None and status > 128 and status - 128 in set(signal.Signals):
        how = f"It was ended by {signal.Signals(status - 128).name}"
    else:
        how = f"It left with exit status {status}"
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = f"{how}: {excerpt(lines[-1], LAST_LINE)}" if lines else f"{how} and printed nothing to stderr."
    if tier in WITHOUT_NAMESPACES and any(refusal in text for refusal in REFUSALS):
        words += f" {WITHOUT_NAMESPACES[tier]}"
    return words


def cpu_model() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_models(devices: tuple[int, ...], told: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Names of GPUs by their device numbers, as the driver tells them."""
    models: dict[int, str] = {}
    for information in told.glob("*/information"):
        lines = [line.partition(":") for line in information.read_text(errors="replace").splitlines()]
        fields = {name.strip(): value.strip() for name, _, value in lines}
        if fields.get("Device Minor", "").isdecimal():
            models[int(fields["Device Minor"])] = fields.get("Model", "unknown")
    return [models.get(device, "unknown") for device in devices]


if __name__ == "__main__":
    sys.exit(main())
