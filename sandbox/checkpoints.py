"""Hands the files that a fit left on to the process that predicts: copied as bytes, never read as anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .jobs import CheckpointRule
from .outputs import Refused, TooLarge, copy_plain

MAX_DEPTH = 8
MAX_NAME_BYTES = 200


def hand_over(left: Path, checkpoint: Path, rule: CheckpointRule) -> None:
    """Copy all files beneath `left`, once everything that could write there is dead.

    Raises:
        Refused: one is not a plain file with one name, or they break the bounds.
    """
    room = rule.max_bytes
    for number, file in enumerate(_files(left, rule.max_files)):
        if number >= rule.max_files:
            raise Refused(f"Expected a checkpoint of at most {rule.max_files} files, but it has more.")
        target = checkpoint / file
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            copy_plain(left, file, target, room)
        except TooLarge:
            raise Refused(f"Expected a checkpoint of at most {rule.max_bytes} bytes, but it has more.") from None
        except Refused as error:
            raise Refused(f"Expected a checkpoint of plain files. {error}") from error
        room -= target.stat().st_size


def _files(folder: Path, max_files: int) -> Iterator[str]:
    """Names of all that is no folder, relative to `folder`.

    Raises:
        Refused: too deep, too many folders, an odd name, or a folder that cannot be read.
    """
    waiting = [""]
    folders = 0
    while waiting:
        place = waiting.pop()
        folders += 1
        if place.count("/") >= MAX_DEPTH or folders > max_files + MAX_DEPTH:
            raise Refused(f"Expected a checkpoint of few folders, at most {MAX_DEPTH} deep, but it has more.")
        try:
            with os.scandir(folder / place) as entries:
                for entry in entries:
                    _check_name(entry.name)
                    path = f"{place}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{path}/")
                    else:
                        yield path
        except OSError as error:
            raise Refused(f"Expected a checkpoint that can be read, but: {error.strerror}.") from error


def _check_name(name: str) -> None:
    if not name.isprintable() or len(name.encode(errors="surrogateescape")) > MAX_NAME_BYTES:
        raise Refused(f"Expected plain short names in a checkpoint, but got {name[:80]!a}.")
