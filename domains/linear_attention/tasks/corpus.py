"""Text to learn and to be asked: the standard library's own source with its words drawn anew, or text of the user.

The default corpus needs no download: the .py files of the standard library, split 95/5 by the hash of their content.
But a candidate finds these files in its sandbox too. So of a file only the skeleton stays: punctuation, white space,
numbers, short words, keywords and builtins. Every other word is drawn anew, by a process that never looks at the words
that stood there:

    with 0.3   the word that followed when the previous word was last used, if it was
    with 0.4   one of the latest 16 words
    else       a word of the training files, as often as they have it

so that words recur as they do in programs, partly by association, which is what a memory is for. Held-out text is drawn
with the hidden seed, and only letters inside drawn words are asked, behind at least one letter of the word. Given the
skeleton, which is in plain sight, the words do not depend on the files: looking those up gains nothing. Renaming words
one to one would not do: who knows the file knows which earlier word comes again.

What it is not: natural text, or a measure of how well a mixer models programs. User text is left as it is and asked
anywhere, since it is not in the sandbox.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import keyword
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

SEPARATOR = 0
"""Byte between documents."""

VOCABULARY = 256

BYTES, DRAWN_BYTES = "bytes", "bytes, words drawn anew"
"""What is said as the tokenizer of text that is left as it is, and of text that `rewritten` made."""

HELD_OUT = 20
"""One document in so many is held out."""

FOLLOWS, RECENT = 0.3, 0.4
"""Shares of the words that follow an association, and that are one of the latest; the rest are fresh."""

LATEST = 16

LEFT_OUT = frozenset(
    ["test", "tests", "idlelib", "site-packages", "dist-packages", "encodings", "pydoc_data", "lib2to3", "__pycache__"]
)
"""Folders of tests and of tables."""

SMALLEST_FILE, LARGEST_FILE = 2_000, 120_000

_WORD = re.compile(rb"(?<![A-Za-z0-9_])[A-Za-z_][A-Za-z0-9_]{2,}")
_KEPT = frozenset(name.encode() for name in [*keyword.kwlist, *dir(builtins), "self", "cls"])


class Text(NamedTuple):
    """Documents one behind the other, with a separator between them."""

    tokens: np.ndarray
    """(n,) uint8."""
    askable: np.ndarray
    """(m,) int64: places of the bytes that may be asked, increasing."""


class NoCorpus(RuntimeError):
    """There is no text; the message says where it was looked for."""


def is_held_out(document: bytes) -> bool:
    """Whether a document is for asking only: its hash decides, so that copies of it go the same way."""
    return int.from_bytes(hashlib.sha256(document).digest()[:8], "big") % HELD_OUT == 0


def standard_library(train_bytes: int, held_out_bytes: int) -> tuple[list[bytes], list[bytes]]:
    """Files for training and for asking, about so many bytes each, in an order that their names decide."""
    root = Path(sysconfig.get_path("stdlib"))
    train: list[bytes] = []
    held_out: list[bytes] = []
    missing = {id(train): train_bytes, id(held_out): held_out_bytes}
    for path in sorted(
        _python_files(root), key=lambda path: hashlib.sha256(str(path.relative_to(root)).encode()).digest()
    ):
        document = path.read_bytes()
        part = held_out if is_held_out(document) else train
        if missing[id(part)] > 0:
            part.append(document)
            missing[id(part)] -= len(document)
        if max(missing.values()) <= 0:
            break
    if not train or not held_out:
        raise NoCorpus(f"Expected .py files of the standard library under {root}, but found {len(train)}. Give text.")
    return train, held_out


def _python_files(root: Path) -> Iterator[Path]:
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(name for name in inside if name not in LEFT_OUT)
        for name in files:
            path = Path(folder, name)
            if name.endswith(".py") and SMALLEST_FILE <= path.stat().st_size <= LARGEST_FILE:
                yield path


class Words:
    """The words of some documents, drawn as often as they occur there."""

    def __init__(self, documents: Iterable[bytes]) -> None:
        counts: Counter[bytes] = Counter()
        for document in documents:
            counts.update(_WORD.findall(document))
        for word in _KEPT:
            counts.pop(word, None)
        self.words = sorted(counts)
        self._edges = np.cumsum([counts[word] for word in self.words], dtype=np.float64)

    def draw(self, rng: np.random.Generator, count: int) -> list[bytes]:
        """So many words, independent of each other."""
        places = np.searchsorted(self._edges, rng.random(count) * self._edges[-1], side="right")
        return [self.words[place] for place in places.tolist()]


def rewrite(document: bytes, words: Words, rng: np.random.Generator) -> tuple[bytes, list[int]]:
    """The document with every word drawn anew, and the places of its bytes that are inside such a word.

    Depends on the document's skeleton alone: what stood in place of the words changes nothing.
    """
    slots = [match.span() for match in _WORD.finditer(document) if match.group() not in _KEPT]
    drawn = _words_for(len(slots), words, rng)
    pieces: list[bytes] = []
    askable: list[int] = []
    done = length = 0
    for (start, end), word in zip(slots, drawn, strict=True):
        pieces += (document[done:start], word)
        length += start - done + len(word)
        askable += range(length - len(word) + 1, length)
        done = end
    pieces.append(document[done:])
    return b"".join(pieces), askable


def _words_for(count: int, words: Words, rng: np.random.Generator) -> list[bytes]:
    """The process of the header, as a list of so many words."""
    kinds, backs, fresh = rng.random(count), rng.integers(2, LATEST + 1, count), words.draw(rng, count)
    followed: dict[bytes, bytes] = {}
    said: list[bytes] = []
    previous = b""
    for place, (kind, back, word) in enumerate(zip(kinds.tolist(), backs.tolist(), fresh, strict=True)):
        if kind < FOLLOWS and previous in followed:
            word = followed[previous]
        elif kind < FOLLOWS + RECENT and place >= back:
            word = said[-back]
        followed[previous] = word
        said.append(word)
        previous = word
    return said


def rewritten(documents: Iterable[bytes], words: Words, rng: np.random.Generator) -> Text:
    """Documents as one text with their words drawn anew."""
    pieces: list[bytes] = []
    askable: list[np.ndarray] = []
    length = 0
    for document in documents:
        text, inside = rewrite(document, words, rng)
        askable.append(length + np.asarray(inside, dtype=np.int64))
        pieces.append(text)
        length += len(text) + 1
    tokens = np.frombuffer(bytes([SEPARATOR]).join(pieces), dtype=np.uint8)
    return Text(tokens, np.concatenate(askable))


def places_in_words(tokens: np.ndarray) -> np.ndarray:
    """What `rewritten` calls askable, found again in its text."""
    inside = [np.empty(0, dtype=np.int64)]
    for match in _WORD.finditer(tokens.astype(np.uint8).tobytes()):
        if match.group() not in _KEPT:
            inside.append(np.arange(match.start() + 1, match.end()))
    return np.concatenate(inside)


def as_it_is(documents: Iterable[bytes]) -> Text:
    """Documents as one text in which any byte may be asked."""
    tokens = np.frombuffer(bytes([SEPARATOR]).join(documents), dtype=np.uint8)
    return Text(tokens, np.arange(1, len(tokens), dtype=np.int64))


def text_documents(paths: Iterable[Path], limit: int | None = None) -> Iterator[bytes]:
    """Documents of .txt files (one each) and .jsonl files (the "text" of each line), until `limit` bytes have come.

    Raises ValueError with file and line where a line has no text.
    """
    left = float("inf") if limit is None else limit
    for path in sorted(paths):
        for document in _lines_of(path) if path.suffix == ".jsonl" else [path.read_bytes()]:
            if left <= 0:
                return
            if document:
                left -= len(document)
                yield document


def text_files(folder: Path) -> list[Path]:
    """The text files of a folder, those of folders in it not among them."""
    return sorted(path for path in folder.glob("*") if path.suffix in (".txt", ".jsonl")) if folder.is_dir() else []


def _lines_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"Expected JSON, but {path}:{number}: {error}.") from error
            if not isinstance(record, dict) or not isinstance(record.get("text"), str):
                raise ValueError(f'Expected an object with a string "text", but {path}:{number} has none.')
            yield record["text"].encode("utf-8", "surrogatepass")
