"""Runs one program in a sandbox from start to the last breath of its process tree, within its bounds."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evolution.errors import SandboxUnavailable
from ..evolution.outcomes import LimitHit, ResourceUsage
from ..evolution.text import inert
from .isolation import Isolation, Request
from .jobs import Limits
from .watcher import MB, TICK_S, Watcher

START_PATIENCE_S = 30.0
DEATH_PATIENCE_S = 30.0
CHUNK = 1 << 16
HEAD_BYTES = 64_000
TAIL_BYTES = 16_000


@dataclass(frozen=True)
class Ended:
    """How a confined program ended. `status` is its exit status, 128 + n after signal n, `None` when it was stopped."""

    status: int | None
    limit: LimitHit | None
    usage: ResourceUsage


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
    request: Request,
    limits: Limits,
    stdout: Path,
    stderr: Path | None,
    writes_to: Path,
    cancelled: Callable[[], bool],
) -> Ended:
    """Run a request and return when nothing of it is alive.

    Args:
        stdout: where the log of its standard output goes; with `stderr` `None` both streams go there.
        writes_to: the folder that it can write to, bounded by `limits.disk_mb`.
        cancelled: asked all the time; once it says so, everything is ended.

    Raises:
        Cancelled: it was cancelled.
        SandboxUnavailable: the sandbox could not be set up.
    """
    logs = {"stdout": Log(), "stderr": Log()}
    confined = _Confined(isolation, request, limits, writes_to)
    try:
        limit = confined.watch(logs, cancelled)
    finally:
        confined.end(logs)
        if stderr is None:
            stdout.write_text(logs["stdout"].text() + logs["stderr"].text(), encoding="utf-8")
        else:
            stdout.write_text(logs["stdout"].text(), encoding="utf-8")
            stderr.write_text(logs["stderr"].text(), encoding="utf-8")
    return confined.ended(limit, logs)


class _Confined:
    """A running sandbox."""

    def __init__(self, isolation: Isolation, request: Request, limits: Limits, writes_to: Path) -> None:
        self._limits = limits
        self._cpu_before = _children_cpu()
        self._reports = b""
        read, write = os.pipe()
        os.set_blocking(read, False)
        self._report_fd = read
        try:
            self._outer = subprocess.Popen(
                isolation.command(request, write),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(write,),
                preexec_fn=lambda: _set_limits(limits),
                env={},  # --clearenv does not clear what /proc/1/environ shows inside: that is the environment of bwrap
            )
        except OSError as error:
            os.close(read)
            raise SandboxUnavailable(f"Expected the sandbox to start, but: {error}.") from error
        finally:
            os.close(write)
        self._init = self._wait_for_init()
        self._watcher = Watcher(self._init, limits, writes_to) if self._init is not None else None
        self._selector = selectors.DefaultSelector()
        for name in ("stdout", "stderr"):
            stream = getattr(self._outer, name)
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, name)

    def _wait_for_init(self) -> int | None:
        """Process id of the sandbox's first process; `None` where it ended before it told."""
        give_up = time.monotonic() + START_PATIENCE_S
        while time.monotonic() < give_up:
            report = self._report("child-pid")
            if report is not None:
                return report
            if self._outer.poll() is not None:
                return self._report("child-pid")
            time.sleep(0.0005)
        self._outer.kill()
        return None

    def _report(self, name: str) -> int | None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._report_fd, CHUNK):
                self._reports += chunk
        for line in self._reports.splitlines():
            with contextlib.suppress(ValueError):
                fields: dict[str, Any] = json.loads(line)
                if name in fields:
                    return int(fields[name])
        return None

    def watch(self, logs: dict[str, Log], cancelled: Callable[[], bool]) -> LimitHit | None:
        """Until the program ends by itself (`None`) or passes a bound.

        Raises:
            Cancelled: somebody asked for an end.
        """
        if self._watcher is None:
            return None
        next_look = 0.0
        while self._outer.poll() is None:
            if cancelled():
                raise Cancelled
            self._read_output(logs, TICK_S)
            written = sum(log.size for log in logs.values())
            if written > self._limits.output_mb * MB:
                return LimitHit("output", written / MB, self._limits.output_mb, "MB")
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + TICK_S
                limit = self._watcher.look()
                if limit is not None:
                    return limit
        return None

    def _read_output(self, logs: dict[str, Log], patience: float) -> bool:
        """Take in what has been printed; false once nobody can print any more."""
        if not self._selector.get_map():
            time.sleep(patience)
            return False
        for key, _ in self._selector.select(patience):
            try:
                data = os.read(key.fd, CHUNK)
            except BlockingIOError:
                continue
            if data:
                logs[key.data].add(data)
            else:
                self._selector.unregister(key.fileobj)
        return bool(self._selector.get_map())

    def end(self, logs: dict[str, Log]) -> None:
        """Kill what is left and wait until nothing is. The outer process is gone long before the sandbox is."""
        try:
            if self._init is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._init, signal.SIGKILL)
            self._wait_for_outer()
            self._wait_for_death()
            give_up = time.monotonic() + 1.0
            while self._read_output(logs, 0.01) and time.monotonic() < give_up:
                pass
        finally:
            if self._watcher is not None:
                self._watcher.close()
            self._selector.close()
            for stream in (self._outer.stdout, self._outer.stderr):
                if stream is not None:
                    stream.close()

    def _wait_for_outer(self) -> None:
        try:
            self._outer.wait(1.0)
        except subprocess.TimeoutExpired:
            self._outer.kill()
            self._outer.wait()

    def _wait_for_death(self) -> None:
        """We are the subreaper: the sandbox's first process becomes our child, and dies last of all in there."""
        give_up = time.monotonic() + DEATH_PATIENCE_S
        while self._init is not None and time.monotonic() < give_up:
            try:
                if os.waitpid(self._init, os.WNOHANG)[0] == self._init:
                    return
            except ChildProcessError:  # not handed to us yet, or reaped by its parent
                if not Path(f"/proc/{self._init}").exists():
                    return
            time.sleep(0.0005)
        if self._init is not None:
            # Its files must not be read while something in there can still change them.
            raise SandboxUnavailable(
                f"Expected the sandbox to be dead {DEATH_PATIENCE_S:.0f} s after it was killed, but process "
                f"{self._init} of it is not. A file system that does not answer is the usual cause."
            )

    def ended(self, limit: LimitHit | None, logs: dict[str, Log]) -> Ended:
        """The end in numbers."""
        status = self._report("exit-code")
        os.close(self._report_fd)
        watcher = self._watcher
        if watcher is None or (status is None and limit is None):
            words = logs["stderr"].text().strip()[-500:]
            raise SandboxUnavailable(
                f"Expected the sandbox to be set up, but it was not: {words or 'no reason given'}."
            )
        cpu = max(_children_cpu() - self._cpu_before, watcher.cpu_seconds)
        if limit is None and (cpu > self._limits.cpu_seconds or status == 128 + signal.SIGXCPU):
            limit = LimitHit("cpu", cpu, self._limits.cpu_seconds, "s")
        elif limit is None and status and watcher.largest_file() >= self._limits.disk_mb * MB:
            # Python ignores SIGXFSZ and raises OSError, so the file tells it and not the status.
            limit = LimitHit("file_size", watcher.largest_file() / MB, self._limits.disk_mb, "MB")
        elif limit is None and status and watcher.tmp_was_full():
            limit = LimitHit("disk", self._limits.disk_mb, self._limits.disk_mb, "MB")
        usage = ResourceUsage(
            cpu_seconds=cpu,
            wall_seconds=watcher.wall_seconds(),
            peak_memory_mb=watcher.peak_memory / MB,
            peak_pids=watcher.peak_pids,
        )
        return Ended(None if limit is not None else status, limit, usage)


def _children_cpu() -> float:
    """CPU seconds of every child that we have waited for, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _set_limits(limits: Limits) -> None:
    """What the kernel holds by itself, per process; the watcher holds the bounds of the whole tree."""
    file_size = int(limits.disk_mb * MB)
    seconds = int(limits.cpu_seconds) + 2
    for which, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, file_size, file_size),
        (resource.RLIMIT_CPU, seconds, seconds + 2),
        (resource.RLIMIT_NOFILE, 4096, 4096),
    ):
        hard_now = resource.getrlimit(which)[1]
        if hard_now != resource.RLIM_INFINITY:
            soft, hard = min(soft, hard_now), min(hard, hard_now)
        resource.setrlimit(which, (soft, hard))
