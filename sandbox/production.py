"""Makes the outputs of a job, in each of the three shapes, and says who is to blame where there are none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..evolution.outcomes import LimitHit, Outcome, ResourceUsage
from ..evolution.text import excerpt
from .checkpoints import hand_over
from .confinement import Ended, Program, run_confined, run_together
from .isolation import Isolation
from .jobs import CheckpointRule, JobFolder, JobSpec
from .outputs import take_over
from .programs import Programs
from .progress import ProgressWatch

LAST_LINE = 500
REFUSALS = ("Permission denied", "Operation not permitted")
WITHOUT_NAMESPACES = {
    "landlock": "Perhaps it is this: tier landlock shares /dev/shm, network and process table with the host, so "
    "a candidate may use no shared memory (multiprocessing locks and pools, DataLoader workers), no sockets (gloo), "
    "and no chmod. With bubblewrap or user namespaces it has its own: asi-evolve doctor tells what is in their way.",
}
CANDIDATE_FAULT_STATUS = 86
"""A trainer's word that the candidate is at fault; as in `channel.py`, which is not imported: it needs numpy."""


@dataclass(frozen=True)
class Failure:
    """Why there are no outputs."""

    outcome: Outcome
    reason: str
    limit: LimitHit | None = None


class Production:
    """The way to the outputs of one job."""

    def __init__(
        self,
        isolation: Isolation,
        folder: JobFolder,
        spec: JobSpec,
        programs: Programs,
        cancelled: Callable[[], bool],
    ) -> None:
        self._isolation = isolation
        self._folder = folder
        self._spec = spec
        self._programs = programs
        self._cancelled = cancelled
        self.usage = ResourceUsage()
        """Of all sandboxes that ran for the candidate so far."""
        self.outputs: list[str] = []
        """Names of the files that were taken over so far."""
        self.stopped_early = ""
        """Why an early-stop rule ended the run, where what it has left is scored all the same."""
        told = folder.fit / "out" if spec.shape == "fit_predict" else folder.out
        self._progress = ProgressWatch(told, folder.progress, spec.stop_rules)

    def see_gpus(self) -> Failure | None:
        """Refuse to run without the devices that were granted: programs go on without them, slowly and silently."""
        if not self._spec.gpus or self._spec.harness is None:
            return None
        ended = run_confined(self._isolation, self._programs.gpu_probe(), self._cancelled)
        if ended.status == 0:
            return None
        why = limit_sentence(ended.limit) if ended.limit is not None else last_line(self._folder.probe_log)
        return _our_fault(f"The granted GPU(s) cannot be used in the sandbox: {why}. Do: asi-evolve doctor.")

    def generate(self) -> Failure | None:
        """Have the domain's generator make data, where there is one. What fails here is never the candidate's fault."""
        if self._spec.generator is None:
            return None
        ended = run_confined(self._isolation, self._programs.generator(), self._cancelled)
        if ended.limit is not None:
            return _our_fault(f"The generator went over a bound: {limit_sentence(ended.limit)}")
        if ended.status != 0:
            return _our_fault(f"The generator failed: {exit_sentence(ended, self._folder.generator_log)}")
        _make_readable(self._folder.generated)
        return None

    def produce(self) -> Failure | None:
        """Run what the shape says, and take the outputs over.

        Raises:
            Refused: they, or a checkpoint, are not what was declared.
            Cancelled: somebody asked for an end.
            SandboxUnavailable: a sandbox could not be set up.
        """
        if self._spec.harness is None:
            self._take_over(self._folder.out, "harness", "predict")
            return None
        match self._spec.shape:
            case "run":
                failure, by = self._run_watched(self._programs.harness()), "harness"
            case "fit_predict":
                failure, by = self._fit() or self._predict(), "predict"
            case "serve":
                failure, by = self._serve(), "harness"
        if failure is None:
            self._take_over(self._folder.out, by)
        return failure

    def _fit(self) -> Failure | None:
        failure = self._run_watched(self._programs.fit(), "fit")
        if failure is None:
            self._folder.checkpoint.mkdir(mode=0o755)
            rule = self._spec.checkpoint or CheckpointRule(max_bytes=0, max_files=0)
            hand_over(self._folder.fit / "checkpoint", self._folder.checkpoint, rule)
            self._take_over(self._folder.fit / "out", "harness")
        return failure

    def _predict(self) -> Failure | None:
        ended = run_confined(self._isolation, self._programs.predict(), self._cancelled)
        return self._failure(ended, self._folder.predict_log, "predict")

    def _run_watched(self, program: Program, part: str = "") -> Failure | None:
        """The harness beside the candidate, which may tell how it gets on, and be stopped for it."""
        try:
            ended = run_confined(self._isolation, program, self._cancelled, self._progress.observe)
        finally:
            self._progress.finish()
        return self._failure(ended, self._folder.stderr, part) or self._early_end(ended)

    def _early_end(self, ended: Ended) -> Failure | None:
        """What the early-stop rules make of a run that has come through so far."""
        stop = self._progress.stop
        if stop is not None and stop.outcome == "reject":
            # Also where it came to its end before we looked: else chance would decide.
            return Failure(Outcome.REJECTED, stop.reason)
        if stop is not None and ended.stopped:
            self.stopped_early = stop.reason
        return None

    def _failure(self, ended: Ended, log: Path, part: str) -> Failure | None:
        self._count(ended.usage, self._spec.gpus)
        if ended.limit is not None:
            return Failure(Outcome.LIMIT, limit_sentence(ended.limit, part), ended.limit)
        if ended.status != 0 and not ended.stopped:
            sentence = exit_sentence(ended, log, self._isolation.name)
            return Failure(Outcome.CANDIDATE_ERROR, f"In the {part}: {sentence}" if part else sentence)
        return None

    def _serve(self) -> Failure | None:
        trainer_reads, candidate_writes = os.pipe()
        candidate_reads, trainer_writes = os.pipe()
        programs = [
            self._programs.trainer(trainer_reads, trainer_writes),
            self._programs.candidate(candidate_reads, candidate_writes),
        ]
        try:
            trainer, candidate = run_together(self._isolation, programs, self._cancelled, self._progress.observe)
        finally:
            self._progress.finish()
        self._count(side_by_side(trainer.usage, candidate.usage), self._spec.gpus)
        if trainer.limit is not None:
            return Failure(Outcome.LIMIT, limit_sentence(trainer.limit, "trainer"), trainer.limit)
        if trainer.status == 0 or trainer.stopped:
            # What it means that a candidate died on the way is for trainer and evaluator to say.
            return self._early_end(trainer)
        if trainer.status != CANDIDATE_FAULT_STATUS:
            failed = f"The trainer failed: {exit_sentence(trainer, self._folder.trainer_log)}"
            return _our_fault(f"{failed} {self._state_of(candidate)}")
        if candidate.limit is not None:
            return Failure(Outcome.LIMIT, limit_sentence(candidate.limit, "candidate's process"), candidate.limit)
        said = last_line(self._folder.trainer_log) or "The trainer gave the candidate up and printed nothing."
        return Failure(Outcome.CANDIDATE_ERROR, f"{said} {self._state_of(candidate)}")

    def _state_of(self, candidate: Ended) -> str:
        """What became of a candidate beside its trainer."""
        if candidate.limit is not None:
            return f"The candidate's process: {limit_sentence(candidate.limit)}"
        if candidate.status is None:
            return "The candidate's process was alive."
        return f"The candidate's process: {exit_sentence(candidate, self._folder.stderr, self._isolation.name)}"

    def _count(self, usage: ResourceUsage, gpus: tuple[int, ...]) -> None:
        self.usage = one_after_the_other(self.usage, replace(usage, gpu_seconds=usage.wall_seconds * len(gpus)))

    def _take_over(self, out: Path, *by: str) -> None:
        rules = tuple(rule for rule in self._spec.outputs if rule.by in by)
        self.outputs += take_over(out, self._folder.outputs, rules)


def one_after_the_other(first: ResourceUsage, second: ResourceUsage) -> ResourceUsage:
    """What two took together, of which the second began when the first had ended."""
    return ResourceUsage(
        cpu_seconds=first.cpu_seconds + second.cpu_seconds,
        wall_seconds=first.wall_seconds + second.wall_seconds,
        gpu_seconds=first.gpu_seconds + second.gpu_seconds,
        peak_memory_mb=max(first.peak_memory_mb, second.peak_memory_mb),
        peak_pids=max(first.peak_pids, second.peak_pids),
    )


def side_by_side(first: ResourceUsage, second: ResourceUsage) -> ResourceUsage:
    """What two took together that ran at the same time; the peaks may have come at different times, so their sum is
    the most that it can have been."""
    return ResourceUsage(
        cpu_seconds=first.cpu_seconds + second.cpu_seconds,
        wall_seconds=max(first.wall_seconds, second.wall_seconds),
        gpu_seconds=first.gpu_seconds + second.gpu_seconds,
        peak_memory_mb=first.peak_memory_mb + second.peak_memory_mb,
        peak_pids=first.peak_pids + second.peak_pids,
    )


def _our_fault(reason: str) -> Failure:
    return Failure(Outcome.INFRASTRUCTURE_ERROR, reason)


def _make_readable(folder: Path) -> None:
    """For the programs to come, which run under other user ids."""
    for place, _, files in os.walk(folder):
        Path(place).chmod(0o755)
        for file in files:
            path = Path(place, file)
            if not path.is_symlink():
                path.chmod(0o644)


def limit_sentence(limit: LimitHit, part: str = "") -> str:
    """Which bound was passed, in words, and by which part of the run where there are several."""
    who = f"The {part} went over" if part else "Over"
    return f"{who} the bound on {limit.name}: used {limit.used:.4g} of {limit.allowed:.4g} {limit.unit}."


def exit_sentence(ended: Ended, log: Path, tier: str = "") -> str:
    """How a program left, with the last line that it wrote to its log: where Python names an exception."""
    status = ended.status
    if status is not None and status > 128 and status - 128 in set(signal.Signals):
        how = f"It was ended by {signal.Signals(status - 128).name}"
    else:
        how = f"It left with exit status {status}"
    line = last_line(log)
    words = f"{how}: {line}" if line else f"{how} and printed nothing to stderr."
    if tier in WITHOUT_NAMESPACES and any(refusal in _text(log) for refusal in REFUSALS):
        words += f" {WITHOUT_NAMESPACES[tier]}"
    return words


def last_line(log: Path) -> str:
    """The last line of a log that holds anything; empty where none does."""
    lines = [line.strip() for line in _text(log).splitlines() if line.strip()]
    return excerpt(lines[-1], LAST_LINE) if lines else ""


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
