"""What the daemon does to supervisor processes and their folders: start them, signal them, clear up after them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .isolation import marks
from .jobs import JobFolder

logger = logging.getLogger(__name__)


def start_supervisor(folder: JobFolder) -> subprocess.Popen[bytes]:
    """Start a single supervisor, in a session of its own, so that it outlives whoever started it. The daemon, which
    starts many, has a nursery for that."""
    with locked(folder) as lock, folder.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "asi_evolve.sandbox.supervisor", str(folder.path), "--lock-fd", str(lock)],
            pass_fds=(lock,),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
        )


@contextlib.contextmanager
def locked(folder: JobFolder) -> Iterator[int]:
    """The job's lock, to be handed down: then it is held without a gap from before the supervisor exists until it is
    gone."""
    lock = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    finally:
        os.close(lock)


def end_orphans(token: str) -> None:
    """Kill what a supervisor that was killed left behind of the job with this token: a sandbox in its first
    milliseconds, or programs of a tier without namespaces."""
    if sys.platform == "linux" and not marks.end_marked(marks.first_mark(token)):
        logger.warning("Some processes of job %s could not be ended", token)


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that may have ended already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        logger.info("Supervisor %d had ended already", pid)


async def remove(path: Path) -> None:
    """`rm` rather than Python: it takes folders nested deeper than a path can name.

    Not at the first try where a candidate closed its folders to their owner, or where the last of a sandbox that was
    killed still writes.
    """
    for _ in range(3):
        if await _run("rm", "-rf", "--", str(path)) == 0:
            return
        await _run("chmod", "-R", "u+rwX", "--", str(path))
        await asyncio.sleep(0.1)
    logger.warning("%s could not be removed whole", path)


async def _run(*arguments: str) -> int:
    try:
        process = await asyncio.create_subprocess_exec(*arguments, stdin=subprocess.DEVNULL)
    except OSError as error:  # no memory for another process: no reason to stop whoever clears up
        logger.warning("%s could not be run: %s", arguments[0], error)
        return 1
    return await process.wait()
