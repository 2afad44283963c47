"""What an embedder is, and the one way its vectors enter or question the index: checked, scaled and packed."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Protocol

from ...evolution.errors import EmbedderUnavailable


class Embedder(Protocol):
    """Turns texts into unit vectors. Documents and queries are told apart because some models treat them apart."""

    async def prepare(self) -> None:
        """Load the weights, or ask the endpoint once. The properties and the other calls hold after it.

        Raises:
            EmbedderUnavailable: weights or endpoint are missing or wrong.
        """
        ...

    @property
    def fingerprint(self) -> str:
        """Model, revision and settings: equal fingerprints mean comparable vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        ...

    async def encode_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text."""
        ...

    async def encode_queries(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each query."""
        ...


async def packed_documents(embedder: Embedder, texts: Sequence[str]) -> list[bytes]:
    """One unit vector for each text, float32 little endian.

    Raises:
        EmbedderUnavailable: the embedder fails, or gives something else than one usable vector for each text.
    """
    return _packed(embedder, texts, await embedder.encode_documents(texts))


async def packed_queries(embedder: Embedder, texts: Sequence[str]) -> list[bytes]:
    """As `packed_documents`, for queries."""
    return _packed(embedder, texts, await embedder.encode_queries(texts))


def _packed(embedder: Embedder, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> list[bytes]:
    if len(vectors) != len(texts):
        raise EmbedderUnavailable(
            f"Expected embedder {embedder.fingerprint} to give {len(texts)} vectors, but it gave {len(vectors)}. "
            "Nothing of it was stored."
        )
    return [_unit_vector(embedder, vector) for vector in vectors]


def _unit_vector(embedder: Embedder, vector: Sequence[float]) -> bytes:
    """One NaN or zero vector in the index would poison every search."""
    length = math.sqrt(math.fsum(value * value for value in vector))
    if len(vector) != embedder.dimension or not math.isfinite(length) or length == 0.0:
        raise EmbedderUnavailable(
            f"Expected embedder {embedder.fingerprint} to give a finite vector of length {embedder.dimension} that is "
            f"not zero, but got one of length {len(vector)} with norm {length}. Nothing of it was stored."
        )
    return struct.pack(f"<{len(vector)}f", *(value / length for value in vector))
