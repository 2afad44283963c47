"""Brings a database file to this program's schema, with a copy of the old file first."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..evolution.errors import NewerDatabase
from .connection import Driver


def migration_scripts() -> dict[int, str]:
    """Schema version to the SQL that leads to it, in order."""
    folder = files(__package__ or __name__).joinpath("migrations")
    found = {
        int(match[1]): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if (match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name))
    }
    return dict(sorted(found.items()))


def migrate(path: Path, driver: Driver) -> None:
    """Create the schema, or bring an older one up to date. Safe when several processes start at once.

    Raises:
        NewerDatabase: the file was written by a later version of this program.
    """
    scripts = migration_scripts()
    newest = max(scripts)
    connection = driver.connect(path)
    try:
        connection.execute("PRAGMA busy_timeout = 30000")
        version = _user_version(connection)
        if version > newest:
            raise NewerDatabase(
                f"Expected {path} to have schema version {newest} or older, but it has {version}: a later asi-evolve "
                "wrote it. Install that version, or choose another workspace with --workspace."
            )
        if version == newest:
            return
        connection.execute("BEGIN IMMEDIATE")
        version = _user_version(connection)  # another process may have been faster
        if 0 < version < newest:
            _back_up(driver, path, version)
        for number, script in scripts.items():
            if number > version:
                _run_script(driver, connection, script)
                connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.close()


def _user_version(connection: Any) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _back_up(driver: Driver, path: Path, version: int) -> None:
    target = path.with_name(f"{path.name}.v{version}.backup")
    # A reader of its own: the write lock that we hold keeps others out, and WAL lets this one read.
    source, copy = driver.module.connect(str(path)), driver.module.connect(str(target))
    try:
        source.backup(copy)
    finally:
        source.close()
        copy.close()


def _run_script(driver: Driver, connection: Any, script: str) -> None:
    """Statement by statement: `executescript` would commit the open transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if driver.module.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    if statement.strip():  # a last statement without its semicolon, or only a comment
        connection.execute(statement)
