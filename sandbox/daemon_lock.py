"""Who is the engineer daemon of a workspace: told by a lock on a file, which comes free however the daemon ends."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..database.workspace import WorkspacePaths
from ..evolution.errors import EvolveError

ATTEMPTS = 10
BETWEEN_ATTEMPTS_S = 0.02


class DaemonRunning(EvolveError):
    """Another daemon serves this workspace."""


@contextmanager
def hold_daemon_lock(paths: WorkspacePaths, about: dict[str, str | int]) -> Iterator[None]:
    """Be the only daemon of a workspace.

    Raises:
        DaemonRunning: there is one already.
    """
    descriptor = os.open(paths.daemon_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _taken(descriptor):
            raise DaemonRunning(f"An engineer daemon serves {paths.root} already.")
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps(about).encode())
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Tried more than once: whoever asks whether a daemon runs holds the lock for a moment."""
    for _ in range(ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(BETWEEN_ATTEMPTS_S)
        else:
            return True
    return False


def daemon_about(paths: WorkspacePaths) -> dict[str, str | int] | None:
    """What the running daemon says of itself; `None` where none runs."""
    try:
        descriptor = os.open(paths.daemon_lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        text = os.read(descriptor, 4096).decode()
        return json.loads(text) if text else {}
    finally:
        os.close(descriptor)
