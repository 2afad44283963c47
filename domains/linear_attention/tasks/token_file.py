"""A token file: `NAME.bin`, token ids one behind the other, and `meta.json`, which says how to read and to check it.

    {"format": 1, "file": "tokens.bin", "dtype": "uint16", "tokens": 1000000, "vocabulary": 256, "bytes": 1000000,
     "documents": 321, "sha256": "...", "tokenizer": "bytes", "source": "..."}

`bytes` are those of the text that the tokens stand for, so that losses can be told in bits per byte. Documents follow
each other with one separator token between them. prepare.py makes such files, generator.py makes them from text, and
trainer and generator read them as a memory map: they may be larger than memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FORMAT = 1
DTYPES = {"uint16": 2, "uint32": 4}
"""Bytes of each type that a file may have; little-endian."""

LARGEST_META = 1_000_000


class NotATokenFile(ValueError):
    """The folder has no token file of this format; the message says what is wrong with it."""


class TokenFile(NamedTuple):
    """`tokens` (n,) is a read-only memory map."""

    tokens: np.ndarray
    vocabulary: int
    bytes_per_token: float
    tokenizer: str


def dtype_for(vocabulary: int) -> str:
    """The smallest type that holds every id."""
    return "uint16" if vocabulary <= 1 << 16 else "uint32"


class Writer:
    """Writes a token file chunk by chunk; nothing is seen under its name before `finish`."""

    def __init__(self, folder: Path, vocabulary: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.vocabulary, self.count = folder, vocabulary, 0
        self._dtype = dtype_for(vocabulary)
        self._digest = hashlib.sha256()
        self._beside = folder / f"tokens.bin.{os.getpid()}"
        self._stream = self._beside.open("wb")

    def add(self, tokens: np.ndarray) -> None:
        """Append tokens (n,); raises ValueError for an id outside the vocabulary."""
        if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.vocabulary:
            raise ValueError(
                f"Expected token ids from 0 to {self.vocabulary - 1}, but got {tokens.min()} to {tokens.max()}."
            )
        raw = tokens.astype(f"<u{DTYPES[self._dtype]}").tobytes()
        self._digest.update(raw)
        self._stream.write(raw)
        self.count += len(tokens)

    def finish(self, *, text_bytes: int, documents: int, tokenizer: str, source: str = "") -> dict[str, Any]:
        """Give the file its name and say in meta.json what it is."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        meta = {
            "format": FORMAT,
            "file": "tokens.bin",
            "dtype": self._dtype,
            "tokens": self.count,
            "vocabulary": self.vocabulary,
            "bytes": text_bytes,
            "documents": documents,
            "sha256": self._digest.hexdigest(),
            "tokenizer": tokenizer,
            "source": source,
        }
        # An old meta.json beside new tokens would be believed, so it goes first.
        (self.folder / "meta.json").unlink(missing_ok=True)
        self._beside.replace(self.folder / "tokens.bin")
        beside = self.folder / f"meta.json.{os.getpid()}"
        beside.write_text(json.dumps(meta, indent=1) + "\n")
        beside.replace(self.folder / "meta.json")
        return meta

    def abandon(self) -> None:
        """Leave nothing behind of what is not finished."""
        self._stream.close()
        self._beside.unlink(missing_ok=True)


def is_there(folder: Path) -> bool:
    """Whether the folder claims to hold a token file."""
    return (folder / "meta.json").is_file()


def read(folder: Path) -> TokenFile:
    """The token file of a folder. Raises NotATokenFile where meta.json and the file do not go together.

    The hash is not computed here: it would read all of a file that is larger than memory. `prepare.py --check` does.
    """
    meta = _meta(folder)
    path = folder / meta["file"]
    size = DTYPES[meta["dtype"]]
    if not path.is_file() or path.stat().st_size != meta["tokens"] * size:
        came = path.stat().st_size if path.is_file() else "no file"
        raise NotATokenFile(
            f"Expected {path} of {meta['tokens'] * size} bytes, but got {came}. Make it with prepare.py."
        )
    if not meta["tokens"]:
        raise NotATokenFile(f"Expected tokens in {path}, but it is empty. Make it with prepare.py.")
    tokens = np.memmap(path, dtype=f"<u{size}", mode="r")
    return TokenFile(tokens, meta["vocabulary"], meta["bytes"] / meta["tokens"], meta["tokenizer"])


def digest(folder: Path) -> tuple[str, str]:
    """(sha256 that meta.json says, sha256 of the file)."""
    meta = _meta(folder)
    with (folder / meta["file"]).open("rb") as stream:
        return str(meta.get("sha256", "")), hashlib.file_digest(stream, "sha256").hexdigest()


def _meta(folder: Path) -> dict[str, Any]:
    path = folder / "meta.json"
    try:
        if path.stat().st_size > LARGEST_META:
            raise NotATokenFile(f"Expected at most {LARGEST_META} bytes in {path}, but got {path.stat().st_size}.")
        meta = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise NotATokenFile(f"Expected a meta.json beside the tokens, but {path}: {error}.") from error
    kinds = {"format": int, "file": str, "dtype": str, "tokens": int, "vocabulary": int, "bytes": int, "tokenizer": str}
    for key, kind in kinds.items():
        if not isinstance(meta, dict) or type(meta.get(key)) is not kind:
            raise NotATokenFile(f"Expected {key!r} of type {kind.__name__} in {path}. Make it with prepare.py.")
    if meta["format"] != FORMAT or meta["dtype"] not in DTYPES or meta["file"] != Path(meta["file"]).name:
        raise NotATokenFile(f"Expected format {FORMAT}, a dtype of {list(DTYPES)} and a plain file name in {path}.")
    if min(meta["tokens"], meta["bytes"]) < 0 or not 2 <= meta["vocabulary"] <= 1 << (8 * DTYPES[meta["dtype"]]):
        raise NotATokenFile(f"Expected counts of zero or more and a vocabulary that the dtype can hold in {path}.")
    return meta
