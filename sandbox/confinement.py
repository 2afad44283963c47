"""Runs programs in sandboxes from start to the last breath of their process trees, within their bounds."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..evolution.errors import SandboxUnavailable
from ..evolution.outcomes import LimitHit, ResourceUsage
from ..evolution.text import inert
from . import ps
from .cgroups import Group
from .gpus import MemoryWatch
from .isolation import Isolation, Request, Streams, marks
from .jobs import Limits
from .watcher import MB, TICK_S, Watcher

START_PATIENCE_S = 30.0
DEATH_PATIENCE_S = 30.0
OBSERVE_S = 0.2
CHUNK = 1 << 16
HEAD_BYTES = 64_000
TAIL_BYTES = 16_000


@dataclass(frozen=True)
class Program:
    """A program to shut in, and where what it says and writes goes."""

    request: Request
    limits: Limits
    stdout: Path
    """Where the log of its standard output goes; with `stderr` `None` both streams go there."""
    stderr: Path | None
    writes_to: Path | None
    """The folder that it can write to besides its temporary one, bounded by `limits.disk_mb`."""
    groups: Path | None = None
    """Where it gets a control group of its own, if anywhere."""


@dataclass(frozen=True)
class Ended:
    """How a confined program ended."""

    status: int | None
    """Its exit status, 128 + n after signal n; `None` where we ended it."""
    limit: LimitHit | None
    usage: ResourceUsage
    stopped: bool = False
    """Whether an observer asked for its end."""


class Cancelled(Exception):
    """Somebody asked for an end."""


class Log:
    """Head and tail of a stream; what lies between is counted, not kept."""

    def __init__(self) -> None:
        self.size = 0
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """Take in some output."""
        self.size += len(data)
        room = HEAD_BYTES - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        if len(self._tail) > 4 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def text(self) -> str:
        """What is kept, as inert text."""
        tail = bytes(self._tail[-TAIL_BYTES:])
        left_out = self.size - len(self._head) - len(tail)
        between = f"\n... {left_out} bytes left out ...\n" if left_out > 0 else ""
        return inert(_decoded(bytes(self._head)) + between + _decoded(tail))


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", errors="backslashreplace")


def run_confined(
    isolation: Isolation,
    program: Program,
    cancelled: Callable[[], bool],
    observe: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run a program and return when nothing of it is alive; the arguments and errors are those of `run_together`."""
    return run_together(isolation, [program], cancelled, observe)[0]


def run_together(
    isolation: Isolation,
    programs: Sequence[Program],
    cancelled: Callable[[], bool],
    observe: Callable[[], bool] = lambda: False,
) -> list[Ended]:
    """Run programs side by side until the first of them has ended; the others are ended with it.

    One of the others may end earlier, by itself or at a bound; the first goes on. The pipes of the programs' requests
    are theirs from here on: ours are closed, or none would ever see that another has ended.

    Args:
        cancelled: asked all the time; once it says so, everything is ended.
        observe: asked a few times a second; once it says so, the first program is stopped.

    Raises:
        Cancelled: it was cancelled.
        SandboxUnavailable: a sandbox could not be set up.
    """
    running: list[_Confined] = []
    try:
        try:
            for program in programs:
                running.append(_Confined(isolation, program))
        finally:
            for descriptor in (descriptor for program in programs for _, descriptor in program.request.pipes):
                os.close(descriptor)
        _watch(running, cancelled, observe)
    finally:
        with contextlib.ExitStack() as ending:
            for confined in running:
                ending.callback(confined.write_logs)
                ending.callback(confined.end)
    return [confined.ended() for confined in running]


def _watch(running: Sequence[_Confined], cancelled: Callable[[], bool], observe: Callable[[], bool]) -> None:
    """Until the first has ended.

    Raises:
        Cancelled: somebody asked for an end.
    """
    with selectors.DefaultSelector() as selector:
        for confined in running:
            confined.register(selector)
        next_look = next_observation = 0.0
        while running[0].is_alive:
            for key, _ in selector.select(TICK_S):
                take_in: Callable[[], bool] = key.data
                if not take_in():
                    selector.unregister(key.fd)
            if cancelled():
                raise Cancelled
            if (now := time.monotonic()) >= next_look:
                next_look = now + TICK_S
                for confined in running:
                    confined.look()
            if now >= next_observation:
                next_observation = now + OBSERVE_S
                if observe():
                    running[0].stop()


class _Confined:
    """A running sandbox."""

    def __init__(self, isolation: Isolation, program: Program) -> None:
        self._program = program
        self._limits = program.limits
        self._isolation = isolation
        self._logs = {"stdout": Log(), "stderr": Log()}
        self._reports = b""
        self._limit: LimitHit | None = None
        self._stopped = False
        self._killed = False
        self._cpu = 0.0
        self._group: Group | None = None
        watch_gpus = program.limits.gpu_memory_mb is not None and program.request.gpus
        gpu_memory = MemoryWatch(program.request.gpus) if watch_gpus else None
        self._pipes, theirs = _pipes("stdout", "stderr", "report")
        try:
            if program.groups is not None:
                self._group = Group(program.groups, program.request.mark, program.limits)
            group = self._group.entrance if self._group is not None else None
            request = replace(program.request, bounds=_bounds(program.limits), group=group)
            self._outer = isolation.start(request, Streams(theirs["stdout"], theirs["stderr"], theirs["report"]))
        except OSError as error:
            for descriptor in self._pipes.values():
                os.close(descriptor)
            if self._group is not None:
                self._group.remove()
            raise SandboxUnavailable(f"Expected the sandbox to start, but: {error}.") from error
        finally:
            for descriptor in theirs.values():
                os.close(descriptor)
        self._outer_gone = False
        self._init = self._wait_for_init()
        self._death: int | None = None
        self._watcher: Watcher | None = None
        if self._init is not None:
            self._watcher = Watcher(
                self._init,
                self._limits,
                self._folders(),
                has_own_tmp=isolation.has_namespaces,
                gpu_memory=gpu_memory,
            )
            with contextlib.suppress(ProcessLookupError):
                self._death = os.pidfd_open(self._init) if hasattr(os, "pidfd_open") else None
        self.is_alive = self._death is not None or (self._init is not None and not self._reap_outer())

    def _folders(self) -> tuple[Path, ...]:
        own = () if self._isolation.has_namespaces else (Path(self._program.request.workplace),)
        return (*((self._program.writes_to,) if self._program.writes_to is not None else ()), *own)

    def _wait_for_init(self) -> int | None:
        """Process id of the sandbox's first process; `None` where it ended before it told."""
        give_up = time.monotonic() + START_PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipes["report"], selectors.EVENT_READ)
            while time.monotonic() < give_up:
                selector.select(TICK_S)
                report = self._report("child-pid")
                if report is not None:
                    return report
                if self._reap_outer():
                    return self._report("child-pid")
        os.kill(self._outer, signal.SIGKILL)
        return None

    def _report(self, name: str) -> int | None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._pipes["report"], CHUNK):
                self._reports += chunk
        for line in self._reports.splitlines():
            with contextlib.suppress(ValueError):
                fields: dict[str, Any] = json.loads(line)
                if name in fields:
                    return int(fields[name])
        return None

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the selector call us when there is something to take in."""
        for name in self._logs:
            selector.register(self._pipes[name], selectors.EVENT_READ, lambda name=name: self._read(name))
        if self._death is not None:
            selector.register(self._death, selectors.EVENT_READ, self._died)

    def _read(self, name: str) -> bool:
        """Take in what has been printed; false once nobody can print any more."""
        try:
            data = os.read(self._pipes[name], CHUNK)
        except BlockingIOError:
            return True
        self._logs[name].add(data)
        written = sum(log.size for log in self._logs.values())
        if written > self._limits.output_mb * MB:
            self._reach(LimitHit("output", written / MB, self._limits.output_mb, "MB"))
        return bool(data)

    def _died(self) -> bool:
        self.is_alive = False
        return False

    def look(self) -> None:
        """See whether it keeps its bounds, and whether it is alive where nobody tells."""
        if not self.is_alive or self._watcher is None:
            return
        if self._death is None and self._reap_outer():
            self.is_alive = False
        elif (limit := self._watcher.look(self._group.cpu_seconds() if self._group is not None else 0.0)) is not None:
            self._reach(limit)

    def _reach(self, limit: LimitHit) -> None:
        if self.is_alive and self._limit is None:
            self._limit = limit
            self._kill()

    def stop(self) -> None:
        """End it because an observer says so."""
        if self.is_alive and self._limit is None:
            self._stopped = True
            self._kill()

    def _kill(self) -> None:
        self._killed |= self.is_alive
        if self._group is not None:
            self._group.kill()
        if self._isolation.has_namespaces:
            with contextlib.suppress(ProcessLookupError):
                if self._death is not None:  # by descriptor: the number may be another's by now
                    signal.pidfd_send_signal(self._death, signal.SIGKILL)
        else:
            self._end_without_namespace()
        self.is_alive = False

    def _end_without_namespace(self) -> None:
        """The monitor last: what it has adopted would come to us, who watch other sandboxes as well."""
        if sys.platform != "linux":
            ps.end_tree(self._outer, self._outer)
        elif not marks.end_marked(self._program.request.mark, 1, spare=self._outer):
            # As below: its files must not be read while something can still change them.
            raise SandboxUnavailable("Expected all that the program started to be dead, but some of it is not.")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._outer, signal.SIGKILL)

    def end(self) -> None:
        """Kill what is left and wait until nothing is. The outer process is gone long before the sandbox is."""
        try:
            self._kill()
            self._wait_for_outer()
            self._wait_for_death()
            give_up = time.monotonic() + 1.0
            while any(list(map(self._read_rest, self._logs))) and time.monotonic() < give_up:
                time.sleep(0.001)
        finally:
            if self._watcher is not None:
                self._watcher.close()

    def _read_rest(self, name: str) -> bool:
        """False once there is nothing more, and nobody who could print more."""
        try:
            while data := os.read(self._pipes[name], CHUNK):
                self._logs[name].add(data)
        except BlockingIOError:
            return True
        return False

    def _wait_for_outer(self) -> None:
        """Where nobody killed it, it still has to say how the program left."""
        give_up = time.monotonic() + (1.0 if self._killed else DEATH_PATIENCE_S)
        while not self._reap_outer():
            if time.monotonic() > give_up:
                os.kill(self._outer, signal.SIGKILL)
            time.sleep(0.0005)

    def _reap_outer(self) -> bool:
        if not self._outer_gone and self._reap(self._outer):
            self._outer_gone = True
        return self._outer_gone

    def _reap(self, pid: int) -> bool:
        """Whether a child of ours has ended; its CPU time, and that of all that it waited for, is counted."""
        found, _, used = os.wait4(pid, os.WNOHANG)
        if found == pid:
            self._cpu += used.ru_utime + used.ru_stime
        return found == pid

    def _wait_for_death(self) -> None:
        """We are the subreaper: the sandbox's first process becomes our child, and dies last of all in there."""
        if self._init is None or self._init == self._outer:
            return
        give_up = time.monotonic() + DEATH_PATIENCE_S
        while time.monotonic() < give_up:
            try:
                if self._reap(self._init):
                    return
            except ChildProcessError:  # not handed to us yet, or reaped by its parent
                if not Path(f"/proc/{self._init}").exists():
                    return
            time.sleep(0.0005)
        # Its files must not be read while something in there can still change them.
        raise SandboxUnavailable(
            f"Expected the sandbox to be dead {DEATH_PATIENCE_S:.0f} s after it was killed, but process "
            f"{self._init} of it is not. A file system that does not answer is the usual cause."
        )

    def write_logs(self) -> None:
        """Leave what it printed."""
        texts = {name: log.text() for name, log in self._logs.items()}
        if self._program.stderr is None:
            self._program.stdout.write_text(texts["stdout"] + texts["stderr"], encoding="utf-8")
        else:
            self._program.stdout.write_text(texts["stdout"], encoding="utf-8")
            self._program.stderr.write_text(texts["stderr"], encoding="utf-8")

    def ended(self) -> Ended:
        """The end in numbers. Lets go of all that is ours."""
        status, limit, watcher = self._report("exit-code"), self._limit, self._watcher
        if self._group is not None:
            limit = limit or self._group.limit()
            self._cpu = max(self._cpu, self._group.cpu_seconds())
            if watcher is not None:
                watcher.peak_memory = max(watcher.peak_memory, self._group.peak_memory())
            self._group.remove()
        for descriptor in (*self._pipes.values(), *([self._death] if self._death is not None else [])):
            os.close(descriptor)
        if watcher is None or (status is None and limit is None and not self._killed):
            words = self._logs["stderr"].text().strip()[-500:]
            raise SandboxUnavailable(
                f"Expected the sandbox to be set up, but it was not: {words or 'no reason given'}."
            )
        cpu = max(self._cpu, watcher.cpu_seconds)
        if limit is None:
            limit = self._limit_in_hindsight(status, cpu, watcher)
        usage = ResourceUsage(
            cpu_seconds=cpu,
            wall_seconds=watcher.wall_seconds(),
            peak_memory_mb=watcher.peak_memory / MB,
            peak_pids=watcher.peak_pids,
        )
        if limit is not None or self._stopped or (self._killed and status == 128 + signal.SIGKILL):
            status = None  # by us
        return Ended(status, limit, usage, self._stopped)

    def _limit_in_hindsight(self, status: int | None, cpu: float, watcher: Watcher) -> LimitHit | None:
        """A bound that the kernel held, or that was passed between two looks."""
        if cpu > self._limits.cpu_seconds or status == 128 + signal.SIGXCPU:
            return LimitHit("cpu", cpu, self._limits.cpu_seconds, "s")
        if status and watcher.largest_file() >= self._limits.disk_mb * MB:
            # Python ignores SIGXFSZ and raises OSError, so the file tells it and not the status.
            return LimitHit("file_size", watcher.largest_file() / MB, self._limits.disk_mb, "MB")
        if status and watcher.tmp_was_full():
            return LimitHit("disk", self._limits.disk_mb, self._limits.disk_mb, "MB")
        return None


def _pipes(*names: str) -> tuple[dict[str, int], dict[str, int]]:
    """Our ends, from which nothing is waited for, and theirs."""
    ours: dict[str, int] = {}
    theirs: dict[str, int] = {}
    for name in names:
        ours[name], theirs[name] = os.pipe()
        os.set_blocking(ours[name], False)
    return ours, theirs


def _bounds(limits: Limits) -> tuple[tuple[int, int, int], ...]:
    """What the kernel holds by itself, per process; the watcher holds the bounds of the whole tree."""
    file_size = int(limits.disk_mb * MB)
    seconds = int(limits.cpu_seconds) + 2
    return (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, file_size, file_size),
        (resource.RLIMIT_CPU, seconds, seconds + 2),
        (resource.RLIMIT_NOFILE, 4096, 4096),
    )
