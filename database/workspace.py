"""A workspace: the folder that holds a database, its artifacts, the jobs in flight and the daemon's lock."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from ..evolution.errors import EvolveError, StorageError
from .artifacts import ArtifactStore
from .connection import Database, Driver, find_driver
from .migrations import migrate
from .search.documents import DocumentSearch
from .search.embedding import Embedder


class WorkspacePaths:
    """Where things lie in a workspace folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "evolve.db"
        self.artifacts = root / "artifacts"
        self.jobs = root / "jobs"
        self.daemon_lock = root / "engineer.lock"
        self.daemon_log = root / "engineer.log"

    def prepare(self) -> None:
        """Make the folders, readable by their owner alone: they hold other people's programs and logs.

        Raises:
            StorageError: the folder cannot be made or written.
        """
        try:
            for folder in (self.root, self.artifacts, self.jobs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Expected to make the workspace folder {self.root}, but: {error}.") from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise StorageError(f"Expected to write in the workspace folder {self.root}, but it is read-only.")


class Workspace:
    """An open workspace."""

    def __init__(self, paths: WorkspacePaths, database: Database, embedder: Embedder | None) -> None:
        self.paths = paths
        self.database = database
        self.read = database.read
        self.transaction = database.transaction
        self.artifacts = ArtifactStore(paths.artifacts)
        self.documents = DocumentSearch(database, embedder)


@asynccontextmanager
async def open_workspace(root: Path, embedder: Embedder | None = None) -> AsyncGenerator[Workspace]:
    """Open a workspace, making or migrating its database where needed.

    Raises:
        StorageError: the folder or the database cannot be used; `NewerDatabase` where a later version wrote it.
    """
    paths = WorkspacePaths(root)
    paths.prepare()
    driver = find_driver()
    _migrate(paths.database, driver)
    async with Database(paths.database, driver) as database:
        workspace = Workspace(paths, database, embedder)
        try:
            yield workspace
        finally:
            await workspace.documents.close()


def _migrate(path: Path, driver: Driver) -> None:
    try:
        migrate(path, driver)
    except EvolveError:
        raise
    except (driver.module.Error, OSError) as error:
        raise StorageError(
            f"Expected to open the database {path}, but: {error}. Check that the file is a SQLite database, that the "
            "disk has room, and that the folder can be written."
        ) from error
