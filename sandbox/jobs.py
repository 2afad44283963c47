"""A job: one stage of one experiment with one seed, as a folder that a supervisor works through.

    <workspace>/jobs/e17-explore-0-1/
        job.json          JobSpec, written by the daemon before the supervisor starts
        params.json       what every program is told
        candidate/        the candidate's files
        harness/ predict/ stub/ generator/ evaluator/
                          the domain's programs, each with its neighbours; evaluator/ and generator/ are never mounted
                          beside a candidate
        channel/          shape serve: the library that trainer and candidate talk with
        generated/        written by the generator: train/, inputs/ and hidden/, each for those who may see it
        fit/              shape fit_predict: out/ and checkpoint/ of the fit: hostile
        checkpoint/       what was taken over from fit/checkpoint/, for the predict
        out/              written by the last program that ran with the candidate: hostile
        outputs/          what was taken over from out/ once the whole process tree was dead, and checked
        result/           written by the evaluator: metrics.json and artifacts
        stdout.log stderr.log predict.log trainer.log generator.log evaluator.log
        supervisor.lock   flock held while the supervisor lives; the daemon takes it and hands it down
        supervisor.pid
        progress.json     Progress, what the run has told of itself so far, by rename
        result.key        in a stage with `cache`: what the result hangs on
        exit.json         JobExit, written once, by rename

The supervisor talks to nobody: no database, no socket. Whoever holds the folder can tell what happened, so a daemon
that starts later takes over where a dead one left off. Standard library only, because one supervisor starts per job.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..evolution.early_stop import StopRule
from ..evolution.outcomes import LimitHit, Outcome, ResourceUsage
from ..evolution.progress import Progress
from .interpreter import Interpreter


@dataclass(frozen=True)
class Limits:
    """Bounds of one sandbox. Times in seconds, sizes in MB (1e6 bytes)."""

    cpu_seconds: float
    wall_seconds: float
    memory_mb: float
    disk_mb: float
    output_mb: float
    pids: int
    gpu_memory_mb: float | None = None
    """On all granted devices together; `None` is all that they have."""


@dataclass(frozen=True)
class ArrayRule:
    """Element type (a numpy name such as `float64`) and shape of one array in an `.npz`."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class OutputRule:
    """A file to take over from the sandbox."""

    file: str
    max_bytes: int
    required: bool
    arrays: dict[str, ArrayRule] | None
    """With it the file must be an `.npz` of exactly these arrays."""
    by: Literal["harness", "predict"] = "harness"
    """Which program leaves it."""


@dataclass(frozen=True)
class CheckpointRule:
    """What a fit may hand on."""

    max_bytes: int
    """Of all files together."""
    max_files: int


@dataclass(frozen=True)
class ArtifactRule:
    """A file that the evaluator may leave in `result/`."""

    file: str
    max_bytes: int


@dataclass(frozen=True)
class JobSpec:
    """Everything that a supervisor needs to know."""

    token: str
    """Fencing token: an exit that carries another one belongs to an earlier attempt and is ignored."""
    isolation: dict[str, str]
    """Tier and how it works on this machine, as the daemon found out: `isolation.from_fields` reads it."""
    interpreter: Interpreter
    harness: str | None
    """File name inside harness/; `None` where the files in out/ are given and only have to be judged."""
    evaluator: str
    """File name inside evaluator/."""
    public_data: str | None
    """Absolute path, mounted read-only at /job/data for harness and evaluator."""
    hidden_data: str | None
    """Absolute path, mounted read-only at /job/hidden for the evaluator alone."""
    limits: Limits
    evaluator_limits: Limits
    """Of the generator too."""
    outputs: tuple[OutputRule, ...]
    artifacts: tuple[ArtifactRule, ...]
    gpus: tuple[int, ...]
    groups: str | None
    """Folder in which its sandboxes get control groups of their own, where some are delegated to us."""
    threads: int
    """How many threads the numerical libraries may start."""
    evaluator_sha256: str
    stop_rules: tuple[StopRule, ...] = ()
    """What ends the run early."""
    provenance: dict[str, str] = field(default_factory=dict[str, str])
    """What else the daemon knows of where the score will come from; stored with it."""
    shape: Literal["run", "fit_predict", "serve"] = "run"
    predict: str | None = None
    """File name inside predict/; shape `fit_predict`."""
    stub: str | None = None
    """File name inside stub/; `None` is the one that comes with the channel. Shape `serve`."""
    generator: str | None = None
    """File name inside generator/, where the domain has one."""
    hidden_seed: int | None = None
    """Told to the programs that run without the candidate: generator, trainer, evaluator."""
    baseline: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Told to the evaluator: what the campaign's baseline came to at this stage, where that has been measured."""
    train_data: str | None = None
    """Absolute path, mounted read-only at /job/train for the harness."""
    inputs_data: str | None = None
    """Absolute path, mounted read-only at /job/inputs for the predict, or where there is none for the harness."""
    second_limits: Limits | None = None
    """Of the predict, or in shape `serve` of the candidate's sandbox; `None` is `limits`."""
    checkpoint: CheckpointRule | None = None

    @classmethod
    def from_json(cls, text: str | bytes) -> JobSpec:
        """The inverse of `to_json`."""
        data: dict[str, Any] = json.loads(text)
        data["limits"] = Limits(**data["limits"])
        data["evaluator_limits"] = Limits(**data["evaluator_limits"])
        data["outputs"] = tuple(_output_rule(rule) for rule in data["outputs"])
        data["artifacts"] = tuple(ArtifactRule(**rule) for rule in data["artifacts"])
        data["gpus"] = tuple(data["gpus"])
        data["stop_rules"] = tuple(StopRule.from_fields(rule) for rule in data["stop_rules"])
        second, checkpoint = data["second_limits"], data["checkpoint"]
        data["second_limits"] = Limits(**second) if second is not None else None
        data["checkpoint"] = CheckpointRule(**checkpoint) if checkpoint is not None else None
        data["interpreter"] = Interpreter.from_fields(data["interpreter"])
        return cls(**data)

    def to_json(self) -> str:
        """As it stands in job.json."""
        return json.dumps(asdict(self), indent=1)


def _output_rule(data: dict[str, Any]) -> OutputRule:
    arrays = data["arrays"]
    if arrays is not None:
        arrays = {name: ArrayRule(rule["dtype"], tuple(rule["shape"])) for name, rule in arrays.items()}
    return OutputRule(data["file"], data["max_bytes"], data["required"], arrays, data["by"])


@dataclass(frozen=True)
class JobExit:
    """How a job ended."""

    token: str
    outcome: Outcome
    reason: str
    """One or two sentences for a reader; empty when scored."""
    metrics: dict[str, float]
    limit: LimitHit | None
    usage: ResourceUsage
    environment: dict[str, str]
    """Versions of interpreter and packages, processor, isolation tier, hashes of evaluator, harness and data."""
    artifacts: tuple[str, ...]
    """Paths, relative to the job folder, of outputs and artifacts worth keeping."""
    started_at: float
    finished_at: float

    @classmethod
    def from_json(cls, text: str | bytes) -> JobExit:
        """The inverse of `to_json`."""
        data: dict[str, Any] = json.loads(text)
        data["outcome"] = Outcome(data["outcome"])
        data["limit"] = LimitHit(**data["limit"]) if data["limit"] is not None else None
        data["usage"] = ResourceUsage(**data["usage"])
        data["artifacts"] = tuple(data["artifacts"])
        return cls(**data)

    def to_json(self) -> str:
        """As it stands in exit.json."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)


Liveness = Literal["not_started", "running", "exited", "died"]


class JobFolder:
    """The files of one job, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec = path / "job.json"
        self.params = path / "params.json"
        self.candidate = path / "candidate"
        self.harness = path / "harness"
        self.predict = path / "predict"
        self.stub = path / "stub"
        self.generator = path / "generator"
        self.evaluator = path / "evaluator"
        self.channel = path / "channel"
        self.generated = path / "generated"
        self.fit = path / "fit"
        self.checkpoint = path / "checkpoint"
        self.out = path / "out"
        self.outputs = path / "outputs"
        self.result = path / "result"
        self.stdout = path / "stdout.log"
        self.stderr = path / "stderr.log"
        self.predict_log = path / "predict.log"
        self.trainer_log = path / "trainer.log"
        self.generator_log = path / "generator.log"
        self.evaluator_log = path / "evaluator.log"
        self.lock = path / "supervisor.lock"
        self.pid = path / "supervisor.pid"
        self.probe_log = path / "probe.log"
        self.progress = path / "progress.json"
        self.log = path / "supervisor.log"
        self.exit = path / "exit.json"
        self.result_key = path / "result.key"

    def logs(self) -> dict[str, Path]:
        """Stream, by the name that readers know it by, to its file; not every job leaves every one."""
        return {
            "stdout": self.stdout,
            "stderr": self.stderr,
            "predict": self.predict_log,
            "trainer": self.trainer_log,
            "generator": self.generator_log,
            "evaluator": self.evaluator_log,
        }

    def read_spec(self) -> JobSpec:
        """The order, as the daemon wrote it."""
        return JobSpec.from_json(self.spec.read_bytes())

    def read_exit(self) -> JobExit | None:
        """How the job ended, or `None` while it has not."""
        try:
            return JobExit.from_json(self.exit.read_bytes())
        except FileNotFoundError:
            return None

    def read_result_key(self) -> str | None:
        """What the result hangs on, where another run may be answered from it."""
        try:
            return self.result_key.read_text()
        except OSError:
            return None

    def write_exit(self, job_exit: JobExit) -> None:
        """Publish the end of the job: all of it or nothing."""
        write_atomically(self.exit, job_exit.to_json().encode())

    def read_progress(self) -> Progress | None:
        """What the run has told of itself so far. `None` where that is nothing, or cannot be read (torn by a power cut,
        say): no outcome hangs on it."""
        try:
            return Progress.from_json(self.progress.read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def liveness(self) -> Liveness:
        """What became of the supervisor, told from its lock and the exit file alone."""
        if self.exit.exists():
            return "exited"
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return "not_started"
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "running"
        finally:
            os.close(descriptor)
        # It may have published its exit and let go of the lock between our two looks.
        return "exited" if self.exit.exists() else "died"

    def sign_of_life(self) -> float | None:
        """Something that changes every second while the supervisor works."""
        try:
            return self.pid.stat().st_mtime
        except OSError:
            return None

    def supervisor_pid(self) -> int | None:
        """Process id of the supervisor, once it has started."""
        try:
            return int(self.pid.read_text())
        except (FileNotFoundError, ValueError):
            return None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none, also after a power cut."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
