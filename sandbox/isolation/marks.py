"""A mark that every process of a job carries and none can take off, so that none can be lost sight of.

It is the bound on file locks (RLIMIT_LOCKS), which Linux has not enforced since 2.4 but still hands down to every
child and shows to everybody. A bound that was lowered cannot be raised again, and the filter of system calls refuses to
lower it further.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import time
from pathlib import Path

_RLIMIT_LOCKS = 10
_WIDTH = 16
"""Sandboxes that one job may have."""
_PATIENCE_S = 10.0


def first_mark(token: str) -> int:
    """The first of the marks of a job with this fencing token; its sandboxes have this one and the next few."""
    return (1 << 56) + _WIDTH * (int.from_bytes(hashlib.sha256(token.encode()).digest()[:6], "big"))


def put_on(mark: int) -> None:
    """Mark this process, and with it all that it starts from now on."""
    if resource.getrlimit(_RLIMIT_LOCKS)[1] in (resource.RLIM_INFINITY, mark):
        resource.setrlimit(_RLIMIT_LOCKS, (mark, mark))


def marked(first: int, width: int = _WIDTH) -> list[int]:
    """Processes with one of the marks from `first` on."""
    if first < 1 << 56:
        raise ValueError(f"Expected a mark of a job, which is 2**56 or more, but got {first}.")
    found: list[int] = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 -- faster
        if entry.isdecimal() and first <= _mark_of(entry) < first + width and not _is_zombie(entry):
            found.append(int(entry))
    return found


def end_marked(first: int, width: int = _WIDTH, *, spare: int = 0) -> bool:
    """Kill them all but `spare`; false where some are left after a while.

    They are stopped before the first is killed: else one could fork faster than we kill."""
    give_up = time.monotonic() + _PATIENCE_S
    stopped = {spare}
    while new := set(marked(first, width)) - stopped:
        for pid in new:
            _send(pid, signal.SIGSTOP)
        stopped |= new
        if time.monotonic() > give_up:
            break
    while left := set(marked(first, width)) - {spare}:
        for pid in left:
            _send(pid, signal.SIGKILL)
        if time.monotonic() > give_up:
            return False
        time.sleep(0.002)
    return True


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _mark_of(pid: str) -> int:
    """0 for a process without a mark."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            if line.startswith("Max file locks"):
                words = line.split()
                return 0 if words[4] == "unlimited" else int(words[4])
    return 0


def _is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
