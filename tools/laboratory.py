"""What every tool works with: the open workspace, arXiv, and a way to wake the engineer daemon."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ..database import experiments
from ..database.search.embedding import Embedder
from ..database.workspace import Workspace, WorkspacePaths, open_workspace
from ..evolution.errors import StorageError
from ..evolution.models import Experiment
from ..evolution.outcomes import ExperimentStatus
from ..sandbox.daemon_lock import daemon_about
from .arxiv import Arxiv
from .judge_endpoint import JudgeEndpoint

logger = logging.getLogger(__name__)

WAIT_POLL_S = 0.1
WAKE_EVERY_S = 1.0
START_AGAIN_S = 5.0
"""A daemon that fails at once is not started again and again."""


class Laboratory:
    """A workspace that opens at first use, so that a server can answer `initialize` before anything heavy is loaded.

    Args:
        root: the workspace folder.
        engineer_command: the command line that starts the engineer daemon of this workspace.
        python: interpreter for new campaigns; `None` is the server's own.
        embedder: what searches go by; `None` is words alone.
        judge: the endpoint that judges on request, where the user has set one up.
        arxiv: where papers come from; `None` is arXiv itself.
    """

    def __init__(
        self,
        root: Path,
        engineer_command: Sequence[str],
        python: str | None = None,
        *,
        embedder: Embedder | None = None,
        judge: JudgeEndpoint | None = None,
        arxiv: Arxiv | None = None,
    ) -> None:
        self.paths = WorkspacePaths(root)
        self.python = python
        self.judge = judge
        self._embedder = embedder
        self.arxiv = arxiv if arxiv is not None else Arxiv()
        self._engineer_command = list(engineer_command)
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._workspace: Workspace | None = None
        self._identity: tuple[int, int] | None = None
        self._started: subprocess.Popen[bytes] | None = None
        self._start_again_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def is_open(self) -> bool:
        """Whether any tool has needed the workspace yet."""
        return self._workspace is not None

    async def workspace(self) -> Workspace:
        """The open workspace.

        Raises:
            StorageError: it cannot be opened; the next call tries again.
        """
        async with self._opening:
            if self._workspace is None or _identity(self.paths.database) != self._identity:
                # Where somebody removed the folder, what is written to the open file is lost with this process.
                if self._workspace is not None:  # calls under way go on with it, but nobody wants its vectors any more
                    await self._workspace.documents.close()
                opening = open_workspace(self.paths.root, self._embedder)
                self._workspace = await self._stack.enter_async_context(opening)
                self._identity = _identity(self.paths.database)
            return self._workspace

    def wake_engineer(self) -> None:
        """Start the engineer daemon where none runs. Two at once do no harm: the second finds the lock taken.

        Raises:
            StorageError: it cannot be started.
        """
        if daemon_about(self.paths) is not None or (self._started is not None and self._started.poll() is None):
            return
        if time.monotonic() < self._start_again_at:
            return
        self._start_again_at = time.monotonic() + START_AGAIN_S
        try:
            with self.paths.daemon_log.open("ab") as log:
                self._started = subprocess.Popen(
                    self._engineer_command,
                    env=_without_keys(os.environ),
                    start_new_session=True,  # it outlives the server, and the client that kills the server's group
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                )
        except OSError as error:
            raise StorageError(
                f"Expected to start the engineer daemon, but: {error}. What was queued is stored and waits: mend the "
                "cause, then wait_experiment starts it (campaign_status lists what waits)."
            ) from error

    def engineer_trouble(self) -> str | None:
        """Why experiments do not get on, where the daemon that this server started has failed."""
        if self._started is None or self._started.poll() in (None, 0) or daemon_about(self.paths) is not None:
            return None
        lines = self.paths.daemon_log.read_text(errors="replace").strip().splitlines()
        return (
            f"The engineer daemon ended with status {self._started.returncode}: {lines[-1][:300] if lines else ''} "
            f"Nothing runs until it starts; {self.paths.daemon_log} tells more, and `asi-evolve doctor` may help."
        )

    async def wait(self, numbers: Sequence[int], seconds: float, *, all_of_them: bool = True) -> list[Experiment]:
        """Experiments as they are when all (or any) of them have finished, or when the time is up."""
        workspace = await self.workspace()
        give_up = time.monotonic() + seconds
        wake_at = 0.0
        while True:
            found = await experiments.many(workspace.read, numbers)
            finished = [experiment.status is ExperimentStatus.FINISHED for experiment in found]
            if all(finished) or (any(finished) and not all_of_them):
                return found
            if time.monotonic() >= wake_at:  # a daemon may have died, or gone idle just as this was queued
                self.wake_engineer()
                wake_at = time.monotonic() + WAKE_EVERY_S
            if time.monotonic() >= give_up:
                return found
            await asyncio.sleep(min(WAIT_POLL_S, max(give_up - time.monotonic(), 0.0)))


def _without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """The engineer talks to no endpoint, and runs programs that would like to."""
    return {
        name: value
        for name, value in environment.items()
        if not (name.startswith("ASI_EVOLVE_") and name.endswith("_API_KEY"))
    }


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file lies at a path; `None` where there is none."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino
