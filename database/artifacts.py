"""Content-addressed files beside the database: `artifacts/ab/abcdef...`, each named by its SHA-256."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from ..evolution.errors import NotFound, StorageError


class ArtifactStore:
    """A folder of files that never change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Keep some bytes and return their SHA-256. Keeping the same bytes again costs nothing.

        Raises:
            StorageError: the folder cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        target = self._path(digest)
        if target.exists():
            return digest
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=target.parent)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(name).replace(target)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"Expected to keep an artifact in {self._folder}, but: {error}.") from error
        return digest

    def holds(self, sha256: str) -> bool:
        """Whether the file behind a hash is there."""
        return self._path(sha256).is_file()

    def read(self, sha256: str) -> bytes:
        """The bytes behind a hash.

        Raises:
            NotFound: the file is gone.
            StorageError: somebody has changed it.
        """
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"Expected the artifact {sha256[:12]} in {self._folder}, but its file is gone.") from error
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise StorageError(
                f"Expected the artifact {sha256[:12]} in {self._folder} as it was stored, but its bytes have changed "
                f"(now {found[:12]}). Bring it back from a backup."
            )
        return data

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256
