"""Asking whether a daemon runs does not keep one from starting."""

import fcntl
import os
import threading

import pytest
from asi_evolve.database.workspace import WorkspacePaths
from asi_evolve.sandbox.daemon_lock import DaemonRunning, daemon_about, hold_daemon_lock


def test_who_asks_at_the_wrong_moment_does_not_keep_a_daemon_from_starting(tmp_path):
    paths = WorkspacePaths(tmp_path)
    asking = os.open(paths.daemon_lock, os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(asking, fcntl.LOCK_SH)  # as daemon_about does, for a moment
    threading.Timer(0.05, os.close, [asking]).start()
    with hold_daemon_lock(paths, {"pid": 1}):
        assert daemon_about(paths) == {"pid": 1}


def test_there_is_only_one_daemon(tmp_path):
    paths = WorkspacePaths(tmp_path)
    with hold_daemon_lock(paths, {"pid": 1}), pytest.raises(DaemonRunning), hold_daemon_lock(paths, {"pid": 2}):
        pass
    assert daemon_about(paths) is None
