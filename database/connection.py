"""One SQLite file shared by several processes: the driver, the pragmas, and transactions that do not lose a race."""

from __future__ import annotations

import asyncio
import importlib
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import aiosqlite
import anyio

from ..evolution.errors import DatabaseBusy, NotFound, StorageError
from ..evolution.ids import KIND_NAMES, Kind, short_id

BUSY_PATIENCE_S = 30.0
"""How long a writer waits for its turn before it gives up."""

Parameters = Sequence[Any]
Row = Any
"""A row of the driver: fields by name and by position."""


@dataclass(frozen=True)
class Driver:
    """The SQLite that serves, and how to load sqlite-vec into it."""

    module: Any
    name: str

    @property
    def sqlite_version(self) -> str:
        """Version of the SQLite library behind the module."""
        return str(self.module.sqlite_version)

    def connect(self, path: Path) -> Any:
        """A connection in autocommit mode, with sqlite-vec loaded and the pragmas set."""
        connection = self.module.connect(str(path), timeout=0.0, isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = self.module.Row
            connection.execute("PRAGMA busy_timeout = 2000")
            self._use_wal(connection)
            for pragma in ("synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
            sqlite_vec = importlib.import_module("sqlite_vec")
            connection.enable_load_extension(True)
            connection.load_extension(sqlite_vec.loadable_path())
            connection.enable_load_extension(False)
        except BaseException:
            connection.close()
            raise
        return connection

    def _use_wal(self, connection: Any) -> None:
        """Turning on WAL takes a lock alone; where two try at once, SQLite refuses both without asking to wait."""
        give_up = time.monotonic() + BUSY_PATIENCE_S
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except self.module.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > give_up:
                    raise
            time.sleep(random.uniform(0.002, 0.02))  # noqa: S311 -- jitter, not a secret


def find_driver() -> Driver:
    """`pysqlite3`, else the standard module where it can load extensions.

    Many Pythons are built without extension loading, and SQLite 3.7.0 to 3.51.2 has a rare bug that several writers in
    WAL mode can meet; the wheel `pysqlite3` brings a SQLite without both.

    Raises:
        StorageError: neither will do.
    """
    try:
        return Driver(importlib.import_module("pysqlite3.dbapi2"), "pysqlite3")
    except ImportError:
        standard = importlib.import_module("sqlite3")
    if not hasattr(standard.Connection, "enable_load_extension"):
        raise StorageError(
            "Expected a SQLite that can load extensions, but this Python's sqlite3 module cannot and pysqlite3 is not "
            "installed. Do: pip install pysqlite3 (or use a Python built with --enable-loadable-sqlite-extensions)."
        )
    return Driver(standard, "sqlite3")


class Reader:
    """Fetches on one connection."""

    def __init__(self, connection: aiosqlite.Connection, explain: Callable[[Exception], Exception]) -> None:
        self._connection = connection
        self._explain = explain

    async def all(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Every row.

        Raises:
            StorageError: the file cannot be read (broken, gone).
        """
        try:
            return list(await self._connection.execute_fetchall(sql, parameters))
        except Exception as error:
            explained = self._explain(error)
            if explained is not error:
                raise explained from error
            raise

    async def one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row, or `None`."""
        rows = await self.all(sql, parameters)
        return rows[0] if rows else None

    async def value(self, sql: str, parameters: Parameters = ()) -> Any:
        """The first field of the first row, or `None`."""
        row = await self.one(sql, parameters)
        return row[0] if row is not None else None

    async def numbered(self, select: str, numbers: Sequence[int], kind: Kind, advice: str = "") -> list[Row]:
        """The rows of these numbers, in the order asked for.

        Args:
            select: a statement that ends with the name of the column that holds the number.
            advice: what to do where one is missing.

        Raises:
            NotFound: one of them does not exist.
        """
        marks = ", ".join("?" * len(numbers))
        by_number = {row["id"]: row for row in await self.all(f"{select} IN ({marks})", list(numbers))}
        missing = [short_id(kind, number) for number in numbers if number not in by_number]
        if missing:
            raise NotFound(
                f"Expected existing {KIND_NAMES[kind]}s, but there is no {', '.join(missing)}. {advice}".strip()
            )
        return [by_number[number] for number in numbers]


class Transaction(Reader):
    """An open write transaction. Everything in it happens, or nothing."""

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement and return how many rows it changed."""
        async with self._connection.execute(sql, parameters) as cursor:
            return cursor.rowcount

    async def insert(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one INSERT and return the number of the new row."""
        async with self._connection.execute(sql, parameters) as cursor:
            return cast(int, cursor.lastrowid)

    async def many(self, sql: str, parameters: Sequence[Parameters]) -> None:
        """Run one statement for each set of parameters."""
        async with self._connection.executemany(sql, parameters):
            pass


class Database:
    """The database of a workspace: one connection that writes and one that reads.

    Readers have a connection of their own so that they never see the half-done work of a transaction in another task.
    """

    def __init__(self, path: Path, driver: Driver) -> None:
        self.path = path
        self.driver = driver
        self._writer = aiosqlite.Connection(lambda: driver.connect(path), 64)
        self._reading = aiosqlite.Connection(lambda: driver.connect(path), 64)
        # The worker threads must not keep a process alive that has decided to end.
        for connection in (self._writer, self._reading):
            cast(Any, connection)._thread.daemon = True
        self._turn = asyncio.Lock()
        self.read = Reader(self._reading, self.explain)

    async def __aenter__(self) -> Self:
        try:
            await self._writer
            await self._reading
        except Exception as error:
            await self.close()
            raise self.explain(error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close both connections."""
        for connection in (self._writer, self._reading):
            await connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        """A write transaction that has its lock from the start (BEGIN IMMEDIATE) and waits its turn.

        A deferred transaction that reads first and writes later fails at once when another process wrote in between;
        and SQLite's own busy handler is unfair, so the waiting is done here, with jitter.

        Raises:
            DatabaseBusy: no turn came within `BUSY_PATIENCE_S`.
            StorageError: the file cannot be written (read-only, disk full, broken).
        """
        async with self._turn:
            await self._begin()
            # A cancelled tool call must leave neither half a transaction nor a held lock.
            with anyio.CancelScope(shield=True):
                try:
                    yield Transaction(self._writer, self.explain)
                    await self._writer.execute("COMMIT")
                except BaseException as error:
                    if self._writer.in_transaction:
                        await self._writer.execute("ROLLBACK")
                    if isinstance(error, Exception):
                        explained = self.explain(error)
                        if explained is not error:
                            raise explained from error
                    raise

    async def _begin(self) -> None:
        give_up = time.monotonic() + BUSY_PATIENCE_S
        while True:
            try:
                # The driver's thread runs the statement even where the caller is cancelled while it waits, and nobody
                # would be left to end that transaction.
                with anyio.CancelScope(shield=True):
                    await self._writer.execute("BEGIN IMMEDIATE")
                return
            except self.driver.module.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > give_up:
                    raise self.explain(error) from error
            await asyncio.sleep(random.uniform(0.002, 0.02))  # noqa: S311 -- jitter, not a secret

    def explain(self, error: Exception) -> Exception:
        """The anticipated failure behind a driver's exception; any other exception as it is."""
        driver = self.driver.module
        # A broken constraint or a wrong statement is a bug of ours, which trying again does not mend.
        if not isinstance(error, driver.OperationalError) and type(error) is not driver.DatabaseError:
            return error
        if _is_busy(error):
            return DatabaseBusy(
                f"Expected a turn to write {self.path} within {BUSY_PATIENCE_S:.0f} s, but other processes held it. "
                "Try again; if it lasts, see which processes have the file open."
            )
        return StorageError(
            f"Expected to use the database {self.path}, but: {error}. Nothing was stored. Check that the disk has room "
            "and that the folder can be written."
        )


def _is_busy(error: Exception) -> bool:
    text = str(error)
    return "locked" in text or "busy" in text
