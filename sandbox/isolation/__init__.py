"""Ways of shutting a program in, one module per tier, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ...evolution.errors import SandboxUnavailable
from ..interpreter import Interpreter

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
"""Each in the sandbox's own /tmp: a cache that outlives a candidate would be a channel to the next."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host as it appears inside."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Request:
    """A program to shut in: `python -s -B script`, in `/tmp`.

    Not `-I`, which would ignore PYTHONHASHSEED, and runs could not be repeated; the environment is ours anyway."""

    interpreter: Interpreter
    script: str
    """Path inside."""
    mounts: tuple[Mount, ...]
    tmp_bytes: int
    """Size of /tmp and of /dev/shm, each."""
    threads: int
    gpus: tuple[int, ...]
    hidden: tuple[str, ...] = ()
    """Folders of the host that must not be seen, should they lie beneath one that is shown."""

    def environment(self) -> dict[str, str]:
        """All that the program sees of an environment."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/tmp",  # noqa: S108 -- the sandbox's own
            "TMPDIR": "/tmp",  # noqa: S108
            "USER": "candidate",  # else getpass.getuser asks /etc/passwd, which is not there
            "LOGNAME": "candidate",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            "PYTHONSAFEPATH": "1",
            # The driver numbers the devices that it can see, and it sees those that were granted.
            "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(len(self.gpus)))),
            **dict.fromkeys(THREAD_SETTINGS, str(self.threads)),
            **{name: f"/tmp/.cache/{folder}" for name, folder in CACHES.items()},  # noqa: S108
        }


class Isolation(Protocol):
    """One tier, as it works on this machine."""

    @property
    def name(self) -> str:
        """Reported with every score."""
        ...

    def fields(self) -> dict[str, str]:
        """What `from_fields` needs to make it again in another process, without trying again."""
        ...

    def command(self, request: Request, status_fd: int) -> list[str]:
        """The command line that runs the request.

        It writes one JSON object a line to `status_fd`: first `child-pid`, the process whose death means that nothing
        of the sandbox is left; then `exit-code`, only if the program was really started.
        """
        ...


def find_isolation(interpreter: Interpreter) -> Isolation:
    """The strongest tier that works here, found by running the real flags.

    Raises:
        SandboxUnavailable: none does; the message says what was tried and what to do.
    """
    from . import bwrap

    return bwrap.find(interpreter)


def from_fields(fields: Mapping[str, str]) -> Isolation:
    """The tier that another process found.

    Raises:
        SandboxUnavailable: this version does not know it.
    """
    from . import bwrap

    if fields.get("tier") != bwrap.TIER:
        raise SandboxUnavailable(f"Expected tier {bwrap.TIER}, but the job asks for {fields.get('tier')!r}.")
    return bwrap.Bubblewrap(binary=fields["binary"], proc=fields["proc"])
