"""Tier `landlock`: for where no namespace can be made. Landlock guards files and signals, the filter all that is named
by other means (sockets, modes, other processes), and a monitor collects what the program leaves behind.

Candidate and host share one /proc, one network and one /dev/shm here, so none of these can be used at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...evolution.errors import SandboxUnavailable
from . import Request, Streams, Tier, kernel, layout, make_view
from .kernel import landlock_allow, landlock_restrict, landlock_ruleset, landlock_version
from .monitored import start_monitored

LEAST_VERSION = 6
"""The first (Linux 6.12) that keeps signals and abstract sockets within. Without that a candidate could kill other
processes of its owner."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_FILES = (1 << 16) - 1  # version 5
_ALL_NETWORK = 3
_ALL_SCOPES = 3
_READ = _READ_FILE | _READ_DIR | _EXECUTE
_IOCTL_DEVICE = 1 << 15
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | _IOCTL_DEVICE  # 14: truncate

READABLE = ("/proc", "/sys/devices/system/cpu")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True)
class Landlock:
    """Landlock that works here."""

    name: Tier = "landlock"
    has_namespaces: bool = False

    def fields(self) -> dict[str, str]:
        """What another process needs to make it again."""
        return {"tier": self.name}

    def start(self, request: Request, streams: Streams) -> int:
        """Fork a monitor, and beneath it the program behind a Landlock ruleset."""
        version = landlock_version()
        if version < LEAST_VERSION:
            raise SandboxUnavailable(
                f"Expected Landlock {LEAST_VERSION} or newer (Linux 6.12), but this kernel has {version or 'none'}."
            )
        job, tmp = make_view(request)
        return start_monitored(request, streams, job, tmp, lambda: _restrict(request, job, tmp))


def _restrict(request: Request, job: str, tmp: str) -> None:
    ruleset = landlock_ruleset(_ALL_FILES, _ALL_NETWORK, _ALL_SCOPES)
    for path, rights in _rights(request, job, tmp):
        _allow(ruleset, path, rights)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    landlock_restrict(ruleset)
    os.close(ruleset)


def _rights(request: Request, job: str, tmp: str) -> Iterator[tuple[str, int]]:
    """What may be done where: an allow-list, like the file system of the stronger tiers."""
    yield from ((path, _READ) for path in (*layout.SYSTEM_FOLDERS, *layout.LOADER_FILES, *READABLE, job))
    yield from ((path, _READ_FILE | _WRITE_FILE) for path in DEVICES)
    hidden = layout.hidden_paths(request)
    for root in request.interpreter.roots:
        yield from _around(root, hidden)
    if request.gpus:
        nodes = (*layout.GPU_NODES, *(f"nvidia{gpu}" for gpu in request.gpus))
        yield from ((f"/dev/{node}", _READ_FILE | _WRITE_FILE | _IOCTL_DEVICE) for node in nodes)
        yield "/sys", _READ
    writable = _ALL_FILES & ~_IOCTL_DEVICE
    yield from ((mount.source, writable if mount.writable else _READ) for mount in request.mounts)
    yield tmp, writable


def _around(root: str, hidden: set[str]) -> Iterator[tuple[str, int]]:
    """A folder without what lies hidden in it: Landlock cannot take back what it has granted for the whole.

    The names in the folders on the way to a hidden one can be listed, which importing takes."""
    if root in hidden:
        return
    if not any(Path(path).is_relative_to(root) for path in hidden):
        yield root, _READ
        return
    yield root, _READ_DIR
    for entry in os.scandir(root):
        yield from _around(entry.path, hidden)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    try:
        landlock_allow(ruleset, descriptor, rights if os.path.isdir(path) else rights & _FILE_ONLY)  # noqa: PTH112
    finally:
        os.close(descriptor)
