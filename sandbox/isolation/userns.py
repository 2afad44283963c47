"""Tier `userns`: the same namespaces as bubblewrap's, made by ourselves, for where no bwrap binary can be had."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
import struct
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from . import JOB, Request, Streams, Tier, layout
from .kernel import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    die_with,
    drop_capabilities,
    install_filter,
    mount,
    pivot_root,
    prctl,
    restrict,
    unmount,
    unshare,
)
from .layout import Bind, Closed, Device, Link, Memory, Piece
from .privileges import become_unprivileged
from .seccomp import filter_program
from .spawn import collect, execute, fork, say

TMP = "/tmp"  # noqa: S108 -- the sandbox's own
OLD, NEW = "/old", "/new"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
SAFE = MS_NOSUID | MS_NODEV


@dataclass(frozen=True)
class UserNamespaces:
    """Unprivileged user namespaces that work here."""

    proc: str
    """As for `Bubblewrap`."""
    name: Tier = "userns"
    has_namespaces: bool = True

    def fields(self) -> dict[str, str]:
        """What another process needs to make it again."""
        return {"tier": self.name, "proc": self.proc}

    def start(self, request: Request, streams: Streams) -> int:
        """Fork a child that enters new namespaces, and in them a first process that sets the file system up."""
        program = filter_program(has_namespaces=True)
        parent = os.getpid()

        def become() -> None:
            become_unprivileged(request)
            die_with(parent)
            _enter_namespaces()
            first = os.fork()
            if first == 0:
                # Its parent is not to be seen from in here; should it be gone already, the mark finds this one.
                prctl(PR_SET_PDEATHSIG, 9)
                _set_up_network()
                _set_up_files(request, self.proc)
                drop_capabilities()
                collect(streams.report, lambda: _run(request, program))
            say(streams.report, "child-pid", first)
            os.closerange(0, 3)
            for _, descriptor in request.pipes:
                os.close(descriptor)
            os.waitpid(first, 0)
            os._exit(0)

        return fork(request, streams, become)


def _enter_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path(f"/proc/self/{name}").write_text(text)


def _set_up_network() -> None:
    """Its own loopback, and a name that is not the host's."""
    with socket.socket() as any_socket:
        # struct ifreq: name, flags; SIOCSIFFLAGS, IFF_UP
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", b"lo", 1))
    with contextlib.suppress(AttributeError):  # sethostname is not on every platform that this file is read on
        socket.sethostname("sandbox")


def _set_up_files(request: Request, proc: str) -> None:
    # Looked at while the paths still mean what they say.
    below = [_resolved(piece) for piece in layout.system()]
    above = [
        _resolved(piece) for piece in chain(layout.gpus(request), layout.interpreter(request), layout.own(request))
    ]
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    # A root to build in, with the old one beneath it; /tmp is the one folder that is there everywhere.
    mount("none", TMP, "tmpfs", SAFE, "mode=755")
    Path(TMP + OLD).mkdir()
    pivot_root(TMP, TMP + OLD)
    os.chdir("/")
    Path(NEW).mkdir()
    mount("none", NEW, "tmpfs", SAFE, "mode=755")
    for piece in below:
        _lay(piece)
    _make_devices(request.tmp_bytes)
    _make_proc(proc)
    # Before the interpreter, which may itself lie beneath /tmp.
    for piece in (Memory(TMP, request.tmp_bytes), *above):
        _lay(piece)
    os.chdir(NEW)
    pivot_root(".", ".")
    unmount(".")
    os.chdir(TMP)


def _resolved(piece: Piece) -> Piece:
    return replace(piece, source=os.path.realpath(piece.source)) if isinstance(piece, Bind) else piece


def _lay(piece: Piece) -> None:
    match piece:
        case Bind(source, target, writable):
            _bind(source, target)
            restrict(NEW + target, read_only=not writable)
        case Link(target, to):
            _folder(str(Path(target).parent))
            Path(NEW + target).symlink_to(to)
        case Memory(target, size):
            # Inodes take memory that no process has mapped: so many that no honest program misses one.
            bound = f"mode=1777,size={size},nr_inodes=65536" if size is not None else "mode=755,size=64k"
            _folder(target)
            mount("none", NEW + target, "tmpfs", SAFE, bound)
        case Device(path):
            _bind(path, path)
        case Closed(target):
            restrict(NEW + target.rstrip("/"), read_only=True, recursive=False)


def _folder(target: str) -> None:
    Path(NEW + target).mkdir(mode=0o755, parents=True, exist_ok=True)


def _bind(source: str, target: str) -> None:
    if Path(OLD + source).is_dir():
        _folder(target)
    else:
        _folder(str(Path(target).parent))
        Path(NEW + target).touch()
    mount(OLD + source, NEW + target, flags=MS_BIND | MS_REC)


def _make_devices(shared_bytes: int) -> None:
    _folder("/dev")
    mount("none", NEW + "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in DEVICES:
        _bind(f"/dev/{name}", f"/dev/{name}")
    for name, to in DEVICE_LINKS.items():
        _lay(Link(f"/dev/{name}", to))
    _lay(Memory("/dev/shm", shared_bytes))  # noqa: S108


def _make_proc(proc: str) -> None:
    _folder("/proc")
    if proc == "empty":
        mount("none", NEW + "/proc", "tmpfs", SAFE, "mode=555,size=4k")
        return
    flags = SAFE | MS_NOEXEC
    try:  # the first process stays out of sight
        mount("proc", NEW + "/proc", "proc", flags, "hidepid=ptraceable")
    except OSError:
        mount("proc", NEW + "/proc", "proc", flags)
    mount(NEW + "/proc/sys", NEW + "/proc/sys", flags=MS_BIND | MS_REC)
    restrict(NEW + "/proc/sys", read_only=True)


def _run(request: Request, program: bytes | None) -> None:
    # Counted in this user namespace alone since Linux 5.14; the watcher's bound is the one that is told.
    if tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (5, 14):
        most = 2 * request.pids + 16
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    os.setsid()
    prctl(PR_SET_DUMPABLE, 1)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if program is not None:
        install_filter(program)
    execute(request.command(JOB), request.environment(JOB, TMP))
