"""Measures a sandbox from outside, through /proc: CPU time, memory, processes and disk of its whole process tree."""

from __future__ import annotations

import contextlib
import math
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from ..evolution.outcomes import LimitHit
from . import ps
from .gpus import MemoryWatch
from .jobs import Limits

TICK_S = 0.02
SLOW_TICK_S = 0.2
MB = 1e6
TMP_FOLDERS = {"/tmp", "/dev/shm"}  # noqa: S108
NEARLY_FULL = 0.99
FULL_MOMENT_S = 2.0
NEW_PEAK = 1.02
"""A growth of resident sizes by less is not looked into at once, but within"""
EXACT_EVERY_S = 1.0
MAX_FILES = 20_000
MAX_DEPTH = 40

_HERTZ = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class _Process:
    """The fields of /proc/PID/stat that matter here. Times in seconds."""

    pid: int
    started: int
    computes: bool
    """Running, or ready to run."""
    own_cpu: float
    reaped_cpu: float
    """Of the children that it has waited for."""
    threads: int
    resident: int
    """Bytes, shared pages counted in full."""


@dataclass
class Watcher:
    """Looks at one sandbox again and again.

    Args:
        init: the first process of the sandbox's process namespace, as the host numbers it. Every process of the
            sandbox descends from it; orphans are handed to it.
        folders: those of the host that the sandbox writes to.
        has_own_tmp: whether it has a /tmp and a /dev/shm of its own.
    """

    init: int
    limits: Limits
    folders: tuple[Path, ...]
    has_own_tmp: bool = True
    gpu_memory: MemoryWatch | None = None
    began: float = field(default_factory=time.monotonic)
    cpu_seconds: float = 0.0
    peak_memory: float = 0.0
    """Bytes."""
    peak_pids: int = 0
    _seen: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    _brief: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    """Of the processes first seen at the last look: the CPU seconds each stands for if it is gone at the next."""
    _brief_cpu: float = 0.0
    _looked_at: float = field(default_factory=time.monotonic)
    _tmp: dict[str, int] = field(default_factory=dict[str, int])
    """Its /tmp and /dev/shm, open."""
    _tmp_full_at: float = -math.inf
    _tmp_files: int = 0
    """The most that one of them has held. Each takes about a kilobyte of memory that no process has mapped."""
    _held_bytes: float = 0.0
    _rough_peak: float = 0.0
    _exact_at: float = 0.0
    _listed: list[_Process] = field(default_factory=list[_Process])
    _slow_at: float = 0.0

    def look(self, counted_cpu: float = 0.0) -> LimitHit | None:
        """Take a sample; the bound that is passed, if one is.

        Args:
            counted_cpu: seconds that the kernel has counted for all of it, where it does.
        """
        processes = self._processes()
        threads = sum(process.threads for process in processes)
        self.peak_pids = max(self.peak_pids, threads)
        self.cpu_seconds = max(self.cpu_seconds, counted_cpu)
        self._count_cpu(processes)
        if (passed := self._passed(threads)) is not None:
            return passed  # before memory is read, which takes long just where there are many processes
        slow = time.monotonic() >= self._slow_at
        if slow:
            self._slow_at = time.monotonic() + SLOW_TICK_S
        self.peak_memory = max(self.peak_memory, self._memory(processes, slow))
        return self._passed(threads) or (self._disk() or self._on_gpus() if slow else None)

    def wall_seconds(self) -> float:
        """Since the sandbox began."""
        return time.monotonic() - self.began

    def _passed(self, threads: int) -> LimitHit | None:
        limits = self.limits
        if self.cpu_seconds > limits.cpu_seconds:
            return LimitHit("cpu", self.cpu_seconds, limits.cpu_seconds, "s")
        if self.wall_seconds() > limits.wall_seconds:
            return LimitHit("wall", self.wall_seconds(), limits.wall_seconds, "s")
        if self.peak_memory > limits.memory_mb * MB:
            return LimitHit("memory", self.peak_memory / MB, limits.memory_mb, "MB")
        if threads > limits.pids:
            return LimitHit("pids", threads, limits.pids, "processes")
        return None

    def _count_cpu(self, processes: list[_Process]) -> None:
        """Two countings, each of which sees what the other can miss: children that were waited for, and children that
        nobody waits for (a parent that ignores SIGCHLD).

        The second samples: a process that computes and is there at one look only stands for all that came and went
        between two looks, and so for the whole time between them, less the share that it spent waiting for a CPU.
        """
        now = time.monotonic()
        between, self._looked_at = now - self._looked_at, now
        alive = {(process.pid, process.started): process for process in processes}
        for gone in self._brief.keys() - alive.keys():
            self._brief_cpu += self._brief[gone]
            self._seen.pop(gone, None)
        self._brief = {
            key: between * _share_of_cpu(process.pid)
            for key, process in alive.items()
            if key not in self._seen and process.computes
        }
        for key, process in alive.items():
            self._seen[key] = process.own_cpu
        by_parents = sum(process.own_cpu + process.reaped_cpu for process in processes)
        self.cpu_seconds = max(self.cpu_seconds, by_parents, sum(self._seen.values()) + self._brief_cpu)

    def largest_file(self) -> float:
        """Bytes of the largest file in the folders that the sandbox writes to."""
        return max((_folder_size(folder).largest for folder in self.folders), default=0.0)

    def tmp_was_full(self) -> bool:
        """Whether /tmp or /dev/shm has been full a moment ago."""
        return time.monotonic() - self._tmp_full_at < FULL_MOMENT_S

    def _processes(self) -> list[_Process]:
        if sys.platform != "linux":
            return self._processes_by_ps()
        found: list[_Process] = []
        waiting = [self.init]
        while waiting and len(found) < 10 * self.limits.pids + 100:
            pid = waiting.pop()
            with contextlib.suppress(OSError, ValueError, IndexError):  # it may end while we look
                found.append(_read(pid))
                waiting += _children(pid)
        return found

    def _processes_by_ps(self) -> list[_Process]:
        """Less often, since each look starts a program."""
        if time.monotonic() >= self._slow_at:
            rows = ps.tree(self.init)
            self._listed = [_Process(row.pid, 0, False, row.cpu, 0.0, 1, row.resident) for row in rows]
        return self._listed

    def _memory(self, processes: list[_Process], slow: bool) -> float:
        """Bytes. Resident sizes count shared pages once per process, so they are never too small, and beyond the bound
        the proportional ones decide; these do not see files in memory that nobody has mapped, which are looked for
        apart. Reading them takes the kernel 13 ms for a process with torch, too much for every look."""
        if slow:
            self._held_bytes = _held_files(processes)
        files = self._held_bytes + self._tmpfs()
        resident = sum(process.resident for process in processes)
        rough = resident + files
        now = time.monotonic()
        if rough <= min(self.limits.memory_mb * MB, NEW_PEAK * self._rough_peak) and now < self._exact_at:
            return 0.0  # neither beyond the bound nor a new peak
        self._rough_peak = max(self._rough_peak, rough)
        self._exact_at = now + EXACT_EVERY_S  # pages that a fork shared may become its own
        private, shared = 0.0, 0.0
        for process in processes:
            with contextlib.suppress(OSError, ValueError):
                anonymous_and_files, in_memory = _proportional(process.pid)
                private += anonymous_and_files
                shared += in_memory
        exact = private + max(shared, files)
        return exact if exact > 0 else rough

    def _tmpfs(self) -> float:
        """Bytes in the sandbox's own /tmp and /dev/shm."""
        for folder in TMP_FOLDERS - self._tmp.keys() if self.has_own_tmp else ():
            self._find_tmp(folder)
        total = 0.0
        for descriptor in self._tmp.values():
            state = os.fstatvfs(descriptor)
            self._tmp_files = max(self._tmp_files, state.f_files - state.f_ffree)
            used = (state.f_blocks - state.f_bfree) * state.f_frsize
            if used >= NEARLY_FULL * state.f_blocks * state.f_frsize:
                self._tmp_full_at = time.monotonic()
            total += used
        return total

    def _find_tmp(self, folder: str) -> None:
        """Hold on to one of them, so that it can be looked at when the sandbox is gone."""
        with contextlib.suppress(OSError):
            descriptor = os.open(f"/proc/{self.init}/root{folder}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            state = os.fstatvfs(descriptor)
            # While the sandbox is being set up, its first process still sees the host's file systems.
            if state.f_blocks * state.f_frsize > self.limits.disk_mb * MB + _PAGE or _is_on_host(descriptor, folder):
                os.close(descriptor)
            else:
                self._tmp[folder] = descriptor

    def close(self) -> None:
        """The last look, when everything is dead; lets go of the sandbox's memory."""
        self._tmpfs()
        for descriptor in self._tmp.values():
            os.close(descriptor)
        self._tmp.clear()

    def _disk(self) -> LimitHit | None:
        sizes = [_folder_size(folder) for folder in self.folders]
        allowed = self.limits.disk_mb
        files = max(self._tmp_files, sum(size.files for size in sizes))
        used = sum(size.used for size in sizes) / MB
        if any(size.too_deep for size in sizes):
            return LimitHit("disk", MAX_DEPTH + 1, MAX_DEPTH, "levels")
        if files > MAX_FILES:
            return LimitHit("disk", files, MAX_FILES, "files")
        return LimitHit("disk", used, allowed, "MB") if used > allowed else None

    def _on_gpus(self) -> LimitHit | None:
        allowed = self.limits.gpu_memory_mb
        if self.gpu_memory is None or allowed is None:
            return None
        used = self.gpu_memory.used_mb()
        return LimitHit("gpu_memory", used, allowed, "MB") if used > allowed else None


def _is_on_host(descriptor: int, folder: str) -> bool:
    try:
        return os.fstat(descriptor).st_dev == os.stat(folder).st_dev  # noqa: PTH116
    except OSError:
        return False


def _read(pid: int) -> _Process:
    text = Path(f"/proc/{pid}/stat").read_text()
    # The name in parentheses may hold anything, also spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return _Process(
        pid=pid,
        started=int(fields[19]),
        computes=fields[0] == "R",
        own_cpu=(int(fields[11]) + int(fields[12])) / _HERTZ,
        reaped_cpu=(int(fields[13]) + int(fields[14])) / _HERTZ,
        threads=int(fields[17]),
        resident=int(fields[21]) * _PAGE,
    )


def _share_of_cpu(pid: int) -> float:
    """Which part of the time that it wanted a CPU a young process had one; 1 where the kernel does not tell."""
    try:
        ran, waited, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
    except (OSError, ValueError):
        return 1.0
    return ran / (ran + waited) if ran + waited > 0 else 1.0


def _children(pid: int) -> list[int]:
    children: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 -- twice as fast, fifty times a second
        with contextlib.suppress(OSError):
            children += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return children


def _proportional(pid: int) -> tuple[float, float]:
    """Bytes of (anonymous and file pages, pages of files in memory), shared ones divided among their users."""
    values = {"Pss_Anon": 0.0, "Pss_File": 0.0, "Pss_Shmem": 0.0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in values:
            values[name] = float(rest.split()[0]) * 1024
    return values["Pss_Anon"] + values["Pss_File"], values["Pss_Shmem"]


def _held_files(processes: list[_Process]) -> float:
    """Bytes of memfds and of deleted files that are held open."""
    held: dict[tuple[int, int], int] = {}
    for process in processes:
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{process.pid}/fd"):  # noqa: PTH208
                _hold(f"/proc/{process.pid}/fd/{number}", held)
    return float(sum(held.values()))


def _hold(path: str, held: dict[tuple[int, int], int]) -> None:
    with contextlib.suppress(OSError):
        target = os.readlink(path)  # noqa: PTH115
        if target.startswith("/memfd:") or (target.endswith(" (deleted)") and not target.startswith(("/tmp", "/dev"))):  # noqa: S108
            state = os.stat(path)  # noqa: PTH116
            held[state.st_dev, state.st_ino] = state.st_blocks * 512


@dataclass(frozen=True)
class _FolderSize:
    used: int
    """Bytes on disk."""
    files: int
    largest: int
    """Bytes of the largest file."""
    too_deep: bool
    """Nested too deeply to be counted."""


def _folder_size(folder: Path) -> _FolderSize:
    used = files = largest = 0
    waiting = [(str(folder), 0)]
    while waiting and files <= MAX_FILES:
        path, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return _FolderSize(used, files, largest, True)
        with contextlib.suppress(OSError), _entries(path) as entries:
            for entry in entries:
                files += 1
                with contextlib.suppress(OSError):
                    state = entry.stat(follow_symlinks=False)
                    used += state.st_blocks * 512
                    if stat.S_ISDIR(state.st_mode):
                        waiting.append((entry.path, depth + 1))
                    else:
                        largest = max(largest, state.st_size)
    return _FolderSize(used, files, largest, False)


def _entries(path: str) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    """What a folder holds, also one that its owner, who is our user too, may not read: files would hide in it."""
    try:
        return os.scandir(path)
    except PermissionError:
        descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.chmod(f"/proc/self/fd/{descriptor}", 0o700)  # noqa: PTH101 -- by descriptor: a path may become a link
        finally:
            os.close(descriptor)
        return os.scandir(path)
