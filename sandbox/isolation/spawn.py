"""Forks a child with given streams, and runs a program beneath a first process that collects what it leaves behind.

The supervisor forks itself: another interpreter between it and the candidate would cost more than all else together.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

from . import Request, Streams, marks
from .kernel import PR_SET_DUMPABLE, prctl

FAILED = 125


def fork(request: Request, streams: Streams, run: Callable[[], None], held: Iterable[int] = ()) -> int:
    """Run a function in a child with its own session, the request's bounds and mark, and no descriptors but the given
    streams, the request's pipes and those held for it.

    The function is to end in an `exec`; what it raises is said on stderr, and the child ends.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            _forget_signal_handlers()
            if request.group is not None:
                _enter(request.group)
            _take(streams, [*held, *(descriptor for _, descriptor in request.pipes)])
            for which, soft, hard in request.bounds:
                _set_bound(which, soft, hard)
            if sys.platform == "linux":
                marks.put_on(request.mark)
            run()
        except Exception as error:  # noqa: BLE001 -- a child that came back into the parent's code would be two of it
            _say(error)
        finally:
            os._exit(FAILED)
    return pid


def execute(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the program."""
    os.execve(command[0], command, environment)  # noqa: S606


def collect(report: int, start: Callable[[], None], at_end: Callable[[], None] = lambda: None) -> NoReturn:
    """Fork the program, reap whatever ends, report how the program left, and end.

    Args:
        start: runs in the program's process and is to end in an `exec`.
        at_end: called when the program has ended, before that is reported.
    """
    started, starting = os.pipe()  # closed by a successful exec
    program = os.fork()
    if program == 0:
        try:
            os.set_inheritable(report, False)  # what it says is believed
            start()
        except Exception as error:  # noqa: BLE001 -- as above
            _say(error)
            os.write(starting, b"x")
        finally:
            os._exit(FAILED)
    _close_all_but(report, started)
    if sys.platform == "linux":
        prctl(PR_SET_DUMPABLE, 0)  # what was the supervisor's memory is not the candidate's to read
    ran = not os.read(started, 1)
    while True:
        pid, status = os.wait()
        if pid == program:
            break
    at_end()
    if ran:
        code = os.waitstatus_to_exitcode(status)
        say(report, "exit-code", code if code >= 0 else 128 - code)
    os._exit(0)


def say(report: int, name: str, number: int) -> None:
    """One line of a report."""
    os.write(report, f'{{"{name}": {number}}}\n'.encode())


def _enter(group: str) -> None:
    descriptor = os.open(group, os.O_WRONLY | os.O_CLOEXEC)
    os.write(descriptor, b"0")
    os.close(descriptor)


def _set_bound(which: int, soft: int, hard: int) -> None:
    hard_now = resource.getrlimit(which)[1]
    if hard_now != resource.RLIM_INFINITY:
        soft, hard = min(soft, hard_now), min(hard, hard_now)
    resource.setrlimit(which, (soft, hard))


def _forget_signal_handlers() -> None:
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def _take(streams: Streams, keep: Iterable[int]) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (streams.stdout, 1), (streams.stderr, 2)):
        os.dup2(source, target)
    kept = (streams.report, *keep)
    for descriptor in kept:
        os.set_inheritable(descriptor, True)
    _close_all_but(0, 1, 2, *kept)


def _close_all_but(*kept: int) -> None:
    last = -1
    for descriptor in (*sorted(kept), max(*kept, os.sysconf("SC_OPEN_MAX"))):
        if descriptor > last + 1:  # an empty range would be taken for all of them
            os.closerange(last + 1, descriptor)
        last = descriptor


def _say(error: Exception) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace"))
