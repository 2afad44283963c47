"""Where a score comes from: what the daemon knows of it before a job starts, and what differs between two scores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ..domains.loader import PARTS, Domain

READ_WHOLE_BYTES = 64_000_000
"""Of a larger file the first and the last megabyte tell, with its size."""
END_BYTES = 1_000_000


class Difference(NamedTuple):
    """Something that was not the same when two scores came about."""

    what: str
    before: str
    after: str


class DataFingerprints:
    """Hashes of data folders, made again only when a name, size or modification time in them has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], str] = {}

    def of(self, folder: Path) -> str:
        """SHA-256 over names, sizes and contents.

        Raises:
            OSError: a file cannot be read.
        """
        key = (str(folder), *((str(path), state.st_size, state.st_mtime_ns) for path, state in _files(folder)))
        if key not in self._known:
            self._known[key] = _fingerprint(folder)
        return self._known[key]


def known_before(domain: Domain, data: DataFingerprints) -> dict[str, str]:
    """What a job will be judged by, as the supervisor stores it with what it finds on the machine.

    Raises:
        OSError: a file of the domain cannot be read.
    """
    found = {
        "domain": domain.name,
        "domain_version": domain.spec.domain.version,
        "asi_evolve": version("asi-evolve-mcp"),
        "harness_sha256": domain.harness_sha256(),
    }
    for part in PARTS:
        folder = domain.data_folder(part)
        if folder is not None:
            found[f"{part}_data_sha256"] = data.of(folder)
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    """What of one environment is not the same in another. What the first does not tell cannot be compared."""
    return [
        Difference(name, value, after.get(name, "absent")) for name, value in before.items() if after.get(name) != value
    ]


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file():
                yield path, path.stat()


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path, state in _files(folder):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{state.st_size}\0".encode("utf-8", "surrogateescape"))
        with path.open("rb") as stream:
            if state.st_size <= READ_WHOLE_BYTES:
                while chunk := stream.read(END_BYTES):
                    digest.update(chunk)
            else:
                digest.update(stream.read(END_BYTES))
                stream.seek(-END_BYTES, os.SEEK_END)
                digest.update(stream.read(END_BYTES))
    return digest.hexdigest()
