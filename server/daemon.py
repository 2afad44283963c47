"""Runs the engineer daemon of a workspace in this process."""

from __future__ import annotations

import asyncio
import logging
import os
from importlib.metadata import version

from ..database import experiments
from ..database.workspace import WorkspacePaths, open_workspace
from ..sandbox.daemon_lock import DaemonRunning, hold_daemon_lock
from ..sandbox.engineer import Engineer
from ..sandbox.flights import Slots
from .serve import configure_logging
from .settings import Settings

logger = logging.getLogger(__name__)


def run_engineer(settings: Settings) -> int:
    """Work off the queue until it has been empty for a while; return the exit status."""
    configure_logging("INFO")
    paths = WorkspacePaths(settings.home)
    paths.prepare()
    try:
        while asyncio.run(_work(paths, settings)):
            logger.info("Something was queued while the daemon was ending; going on")
    except DaemonRunning as error:
        logger.info("%s", error)
    except KeyboardInterrupt:
        logger.info("Interrupted; what runs goes on, and the next daemon adopts it")
    return 0


async def _work(paths: WorkspacePaths, settings: Settings) -> bool:
    """One life of the daemon. True where work arrived after it had decided to end but still held the lock."""
    about = {"pid": os.getpid(), "version": version("asi-evolve-mcp")}
    with hold_daemon_lock(paths, about):
        async with open_workspace(paths.root) as workspace:
            slots = Slots(settings.cpu_slots, settings.gpu_devices())
            logger.info("Engineer of %s: %d CPU slots, GPUs %s", paths.root, slots.cpus, list(slots.gpus))
            await Engineer(workspace, slots, settings.idle_seconds, settings.sandbox_minimum).run()
    if not paths.database.exists():  # removed meanwhile, and not ours to make again
        return False
    async with open_workspace(paths.root) as workspace:
        return await experiments.any_unfinished(workspace.read)
