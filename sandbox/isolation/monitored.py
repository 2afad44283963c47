"""Starts a program without namespaces: beneath a monitor that adopts and kills what the program leaves behind."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable
from pathlib import Path

from . import Request, Streams, marks
from .kernel import PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, die_with, install_filter, prctl
from .privileges import become_unprivileged
from .seccomp import filter_program
from .spawn import collect, execute, fork, say

SPARE_PROCESSES = 500
"""What the owner of the server may start besides, while a candidate runs."""


def start_monitored(request: Request, streams: Streams, job: str, tmp: str, restrict: Callable[[], None]) -> int:
    """Fork the monitor; `restrict` runs in the program's process, before the filter and the program."""
    program = filter_program(has_namespaces=False)
    parent = os.getpid()

    def run() -> None:
        os.setsid()
        _bound_processes(request.pids)
        os.chdir(tmp)
        restrict()
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if program is not None:
            install_filter(program)
        execute(request.command(job), request.environment(job, tmp))

    def become() -> None:
        become_unprivileged(request)
        die_with(parent)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        say(streams.report, "child-pid", os.getpid())
        collect(streams.report, run, lambda: end_the_rest(request.mark))

    return fork(request, streams, become)


def end_the_rest(mark: int) -> None:
    """Kill all that carry the mark but ourselves."""
    marks.end_marked(mark, 1, spare=os.getpid())


def _bound_processes(pids: int) -> None:
    """The kernel counts all of a user's, so this is a wall far out; the watcher keeps the bound that is told."""
    most = _processes_of(os.getuid()) + 2 * pids + SPARE_PROCESSES
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def _processes_of(uid: int) -> int:
    """With their threads."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == uid:
                count += sum(1 for _ in (entry / "task").iterdir())
    return count
