"""Process trees where there is no /proc: asked of `ps`, which macOS and Linux have alike."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass

_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Row:
    """One process."""

    pid: int
    parent: int
    resident: int
    """Bytes, shared pages counted in full."""
    cpu: float
    """Seconds, of its own."""


def tree(root: int) -> list[Row]:
    """A process and its descendants; what has detached itself from them is not found."""
    asked = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,rss=,time="], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    rows = [row for line in asked.stdout.splitlines() if (row := _read(line)) is not None]
    found: list[Row] = []
    wanted = {root}
    while len(more := [row for row in rows if row.pid in wanted or row.parent in wanted]) > len(found):
        found = more
        wanted |= {row.pid for row in found}
    return found


def end_tree(root: int, group: int) -> None:
    """Kill the descendants of a process and its process group, the process itself last."""
    give_up = time.monotonic() + _PATIENCE_S
    while (left := [row.pid for row in tree(root) if row.pid != root]) and time.monotonic() < give_up:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _read(line: str) -> Row | None:
    try:
        pid, parent, kilobytes, used = line.split()
        return Row(int(pid), int(parent), int(kilobytes) * 1024, _seconds(used))
    except ValueError:
        return None


def _seconds(text: str) -> float:
    """Of `[[days-]hours:]minutes:seconds`, with a fraction on macOS."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = 60 * seconds + float(part)
    return 86400 * int(days or 0) + seconds
