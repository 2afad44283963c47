"""Follows what a run writes to its progress file, while it writes: a bounded part of it, whatever the file becomes.

    /job/out/progress.jsonl     one JSON object a line, appended by the harness: {"step": 120, "of": 2000, "loss": 1.93}

The file lies in a folder that a candidate writes to, so it can be a link, a pipe, endless, cut short or exchanged
between two looks. What came of it goes to the job's folder, where the daemon finds it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..evolution.early_stop import Judge, Stop, StopRule
from ..evolution.progress import MAX_LINE_BYTES, Progress, Series, read_point

FILE_NAME = "progress.jsonl"
BYTES_PER_LOOK = 1 << 18
LINES_PER_LOOK = 200
KEEP_EVERY_S = 1.0


class ProgressFile:
    """Reads on from where it was, a bounded number of bytes at a time. Where more has come, the newest is read."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._rest = b""
        self._is_inside_long_line = False
        self.broken = 0
        """Lines longer than any good one."""
        self.skipped_bytes = 0
        """Passed over unread."""

    def look(self) -> list[bytes]:
        """The whole lines that have come since the last look, the newest where there are too many."""
        older, *newer = self._read().rsplit(b"\n", LINES_PER_LOOK)
        lines: list[bytes] = []
        if not newer:
            self._put_aside(older if self._is_inside_long_line else self._rest + older)
            return lines
        if b"\n" in older:
            self.skipped_bytes += len(self._rest) + len(older)
        elif not self._is_inside_long_line:
            lines.append(self._rest + older)
        self._is_inside_long_line = False
        self._put_aside(newer.pop())
        return [line for line in (*lines, *newer) if line.strip()]

    def _put_aside(self, rest: bytes) -> None:
        """The beginning of a line, until the rest of it has come; of one that is too long, nothing."""
        if not self._is_inside_long_line:
            self._rest = rest
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._is_inside_long_line = b"", True
            self.broken += 1

    def _read(self) -> bytes:
        try:
            # Neither through a link, nor waiting for the other end of a pipe or for the holder of a lease.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self._path, flags)
        except OSError:
            return b""
        try:
            return self._read_plain(descriptor)
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def _read_plain(self, descriptor: int) -> bytes:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
            return b""
        identity = (state.st_dev, state.st_ino)
        if identity != self._identity or state.st_size < self._offset:  # another file, or cut short
            self._identity, self._offset = identity, 0
            self._rest, self._is_inside_long_line = b"", False
        ahead = state.st_size - self._offset
        if ahead > BYTES_PER_LOOK:
            self.skipped_bytes += ahead - BYTES_PER_LOOK + len(self._rest)
            self._offset += ahead - BYTES_PER_LOOK
            self._rest, self._is_inside_long_line = b"", True  # in the middle of a line
        data = os.pread(descriptor, BYTES_PER_LOOK, self._offset)
        self._offset += len(data)
        return data


class ProgressWatch:
    """What a run tells of itself, judged by rules, thinned out, and kept in a file at most once a second.

    Args:
        folder: where the run writes its progress file.
        kept: where what came of it is kept.
        rules: those that can end the run early.
    """

    def __init__(
        self, folder: Path, kept: Path, rules: Sequence[StopRule], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = ProgressFile(folder)
        self._kept = kept
        self._judge = Judge(rules)
        self._series = Series()
        self._broken = 0
        self._clock = clock
        self._began = clock()
        self._keep_at = self._began
        self._is_kept = True

    @property
    def stop(self) -> Stop | None:
        """Why the run is to end early, where it is."""
        return self._judge.stop

    def observe(self) -> bool:
        """Look once; true when the run is to be stopped."""
        self._take_in()
        now = self._clock()
        if now >= self._keep_at and not self._is_kept:
            self._keep_at = now + KEEP_EVERY_S
            self._keep(self.progress())
        return self.stop is not None

    def finish(self) -> None:
        """The last look, when the run is dead: what it wrote after the one before counts like the rest."""
        self._take_in()
        progress = self.progress(self._judge.notes())
        if progress != Progress():
            self._keep(progress)

    def progress(self, notes: tuple[str, ...] = ()) -> Progress:
        """What has been told so far."""
        return Progress(
            self._series.points(),
            self._series.count,
            self._broken + self._file.broken,
            self._file.skipped_bytes,
            notes,
        )

    def _take_in(self) -> None:
        for line in self._file.look():
            self._is_kept = False
            point = read_point(line, self._clock() - self._began)
            if point is None:
                self._broken += 1
            elif self.stop is None:  # what comes after the end is not part of the run
                self._series.add(point)
                self._judge.see(point)

    def _keep(self, progress: Progress) -> None:
        """All of it or nothing, for a reader. Not forced to the disk, which could hold up whoever watches the bounds.
        Where it cannot be written, the run goes on: progress decides no outcome by being kept."""
        beside = self._kept.with_name(f".{self._kept.name}")
        with contextlib.suppress(OSError):
            beside.write_text(progress.to_json(), encoding="utf-8")
            beside.replace(self._kept)
            self._is_kept = True
