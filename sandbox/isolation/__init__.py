"""Ways of shutting a program in, one module per tier, behind one interface."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ...evolution.errors import SandboxUnavailable
from ..gpus import visible_devices
from ..interpreter import Interpreter

Tier = Literal["bwrap", "userns", "landlock", "seatbelt", "unconfined"]
TIERS: tuple[Tier, ...] = ("bwrap", "userns", "landlock", "seatbelt", "unconfined")
"""The strongest first. `landlock` and `seatbelt` are as strong as each other, and never on one machine."""

JOB = "/job"
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CACHES = {
    "HF_HOME": "huggingface",
    "TORCH_HOME": "torch",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "MPLCONFIGDIR": "matplotlib",
    "XDG_CACHE_HOME": "cache",
}
"""Each in the sandbox's own temporary folder: a cache that outlives a candidate would be a channel to the next."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host as it appears inside."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Request:
    """A program to shut in: `python -s -B script JOB`, in the temporary folder.

    Not `-I`, which would ignore PYTHONHASHSEED, and runs could not be repeated; the environment is ours anyway."""

    interpreter: Interpreter
    script: str
    """Path beneath `/job`, where a tier has that."""
    mounts: tuple[Mount, ...]
    tmp_bytes: int
    """Size of /tmp and of /dev/shm, each."""
    threads: int
    gpus: tuple[int, ...]
    workplace: str
    """An empty folder of the host. A tier that cannot give a program a file system of its own makes `job` and `tmp`
    in it, for `/job` and `/tmp`."""
    mark: int
    """A number that no other job has: every process of the sandbox carries it (see `marks.py`)."""
    hidden: tuple[str, ...] = ()
    """Folders of the host that must not be seen, should they lie beneath one that is shown."""
    pipes: tuple[tuple[str, int], ...] = ()
    """Environment variable to a descriptor of ours that the program keeps, by its number."""
    bounds: tuple[tuple[int, int, int], ...] = ()
    """(RLIMIT_*, soft, hard) for every process of it."""
    group: str | None = None
    """A file to write `0` to, which puts the writer into the control group of this sandbox."""
    pids: int = 64
    """How many processes and threads are meant to be enough."""

    def environment(self, job: str, tmp: str) -> dict[str, str]:
        """All that the program sees of an environment, where its job and its temporary folder lie there."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": tmp,
            "TMPDIR": tmp,
            "USER": "candidate",  # else getpass.getuser asks /etc/passwd, which is not there
            "LOGNAME": "candidate",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            "PYTHONSAFEPATH": "1",
            "JOB": job,
            "CUDA_VISIBLE_DEVICES": visible_devices(self.gpus) if self.gpus else "",
            **dict.fromkeys(THREAD_SETTINGS, str(self.threads)),
            **{name: f"{tmp}/.cache/{folder}" for name, folder in CACHES.items()},
            **{name: str(descriptor) for name, descriptor in self.pipes},
        }

    def command(self, job: str) -> list[str]:
        """The command line, where the job lies at `job`."""
        return [self.interpreter.executable, "-s", "-B", job + self.script.removeprefix(JOB), job]


@dataclass(frozen=True)
class Streams:
    """Descriptors that a sandbox writes to."""

    stdout: int
    stderr: int
    report: int
    """One JSON object a line: first `child-pid`, the process of the host whose death means that nothing is left (or,
    for a tier without process namespaces, that monitors the rest); then `exit-code` (128 + n after signal n), only if
    the program was really started. What keeps it from starting is said on `stderr`."""


class Isolation(Protocol):
    """One tier, as it works on this machine."""

    @property
    def name(self) -> Tier:
        """Reported with every score."""
        ...

    @property
    def has_namespaces(self) -> bool:
        """Whether killing the first process kills all, and /tmp and /dev/shm are the sandbox's own."""
        ...

    def fields(self) -> dict[str, str]:
        """What `from_fields` needs to make it again in another process, without trying again."""
        ...

    def start(self, request: Request, streams: Streams) -> int:
        """Start the request; the process id of the child of ours that stands for it.

        It forks, so the caller must have no other thread.

        Raises:
            SandboxUnavailable: it cannot.
        """
        ...


def from_fields(fields: Mapping[str, str]) -> Isolation:
    """The tier that another process found.

    Raises:
        SandboxUnavailable: this version does not know it.
    """
    match fields.get("tier"):
        case "bwrap":
            from .bwrap import Bubblewrap

            return Bubblewrap(binary=fields["binary"], proc=fields["proc"])
        case "userns":
            from .userns import UserNamespaces

            return UserNamespaces(proc=fields["proc"])
        case "landlock":
            from .landlock import Landlock

            return Landlock()
        case "seatbelt":
            from .seatbelt import Seatbelt

            return Seatbelt()
        case "unconfined":
            from .unconfined import Unconfined

            return Unconfined()
        case other:
            raise SandboxUnavailable(f"Expected one of the tiers {', '.join(TIERS)}, but the job asks for {other!r}.")


def make_view(request: Request) -> tuple[str, str]:
    """For a tier without a file system of its own: folders of the host that stand for `/job` and `/tmp`."""
    job, tmp = Path(request.workplace) / "job", Path(request.workplace) / "tmp"
    tmp.mkdir(mode=0o700)
    job.mkdir(mode=0o755)
    for mount in request.mounts:
        if mount.target.startswith(f"{JOB}/"):
            (job / mount.target.removeprefix(f"{JOB}/")).symlink_to(os.path.abspath(mount.source))  # noqa: PTH100
    return str(job), str(tmp)
