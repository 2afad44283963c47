"""A process that has loaded all that a supervisor needs, and forks one whenever the daemon asks.

    python -m asi_evolve.sandbox.nursery SOCKET_FD

Starting an interpreter and its modules for each job would cost several times what the sandbox does. It has one thread
and holds nothing: it ends when the daemon does, and what it has forked goes on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

from . import supervisor
from .jobs import JobFolder
from .processes import locked

MAX_PATH_BYTES = 8192


class Nursery:
    """The daemon's side."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, folder: JobFolder) -> int:
        """Start the supervisor of a job, in a session of its own; its process id.

        Raises:
            OSError: it cannot be started.
        """
        with locked(folder) as lock:
            try:
                return self._ask(folder, lock)
            except OSError:  # it has been killed; the next one is as good
                self.close()
                return self._ask(folder, lock)

    def _ask(self, folder: JobFolder, lock: int) -> int:
        if self._socket is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-m", "asi_evolve.sandbox.nursery", str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                )
            self._socket = ours
        socket.send_fds(self._socket, [bytes(folder.path)], [lock])
        answer = self._socket.recv(8)
        if len(answer) != 8:
            raise ConnectionError("Expected a process id from the nursery, but it has ended.")
        return int.from_bytes(answer, "little")

    def close(self) -> None:
        """Let it end."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.wait()
            self._process = None


def main() -> int:
    """Fork supervisors until the daemon hangs up."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them
    asked = socket.socket(fileno=int(sys.argv[1]))
    while True:
        path, descriptors, _, _ = socket.recv_fds(asked, MAX_PATH_BYTES, 1)
        if not path or not descriptors:
            return 0
        pid = os.fork()
        if pid == 0:
            asked.close()
            _become_supervisor(Path(os.fsdecode(path)), descriptors[0])
        os.close(descriptors[0])
        asked.send(pid.to_bytes(8, "little"))


def _become_supervisor(path: Path, lock: int) -> None:
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(JobFolder(path).log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        status = supervisor.main([str(path), "--lock-fd", str(lock)])
    except Exception:  # noqa: BLE001 -- it ends here, and its log is where its last words are looked for
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
