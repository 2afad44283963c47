"""Vectors for the searchable texts: what an embedder is, and the sqlite-vec tables that its vectors live in."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from typing import Any, Protocol

from ..evolution.errors import StorageError
from .connection import Database, Reader


class Embedder(Protocol):
    """Turns texts into unit vectors. Documents and queries are told apart because some models treat them apart."""

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


class VectorIndex:
    """The vectors of one embedder. A disposable index: everything in it can be made again from `documents`."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database = database
        self._embedder = embedder

    async def update(self, batch: int = 64) -> int:
        """Embed every document that has no vector yet and return how many those were.

        The model runs outside of any transaction; a document that another process embeds meanwhile is skipped.
        """
        table = await self._table()
        done = 0
        while True:
            rows = await self._database.read.all(
                f"SELECT id, kind, text, ifnull(campaign_id, 0) AS campaign, ifnull(domain, '') AS domain"
                f" FROM documents WHERE id NOT IN (SELECT document_id FROM {table}) ORDER BY id LIMIT ?",
                (batch,),
            )
            if not rows:
                return done
            vectors = await self._embedder.encode_documents([row["text"] for row in rows])
            packed = [self._pack(vector) for vector in vectors]
            async with self._database.transaction() as tx:
                for row, vector in zip(rows, packed, strict=True):
                    if await tx.value(f"SELECT 1 FROM {table} WHERE document_id = ?", (row["id"],)) is None:
                        await tx.execute(
                            f"INSERT INTO {table} (document_id, embedding, kind, campaign, domain)"
                            " VALUES (?, ?, ?, ?, ?)",
                            (row["id"], vector, row["kind"], row["campaign"], row["domain"]),
                        )
            done += len(rows)

    async def nearest(
        self,
        query: str,
        *,
        kind: str,
        campaigns: Sequence[int] | None,
        domain: str | None,
        among: Sequence[int] | None = None,
        limit: int,
    ) -> list[tuple[int, float]]:
        """(what the document belongs to, cosine similarity) of the nearest documents of one kind, nearest first."""
        table = await self._table()
        vector = self._pack((await self._embedder.encode_queries([query]))[0])
        where: str = "kind = ?"
        parameters: list[Any] = [kind]
        if campaigns is not None:
            marks = ", ".join("?" * len(campaigns))
            where, parameters = f"{where} AND campaign IN ({marks})", [*parameters, *campaigns]
        if domain is not None:
            where, parameters = f"{where} AND domain IN (?, '')", [*parameters, domain]
        if among is not None:
            where = (
                f"{where} AND document_id IN (SELECT id FROM documents WHERE kind = ?"
                " AND ref_id IN (SELECT value FROM json_each(?)))"
            )
            parameters = [*parameters, kind, json.dumps(list(among))]
        rows = await self._database.read.all(
            f"SELECT d.ref_id, v.distance FROM (SELECT document_id, distance FROM {table}"
            f" WHERE embedding MATCH ? AND k = ? AND {where}) AS v JOIN documents AS d ON d.id = v.document_id"
            " ORDER BY v.distance",
            [vector, limit, *parameters],
        )
        return [(row["ref_id"], 1.0 - row["distance"]) for row in rows]

    async def _table(self) -> str:
        """Name of this embedder's table, made at first use."""
        fingerprint, dimension = self._embedder.fingerprint, self._embedder.dimension
        known = await _embedder_row(self._database.read, fingerprint)
        if known is None:
            async with self._database.transaction() as tx:
                known = await _embedder_row(tx, fingerprint)
                if known is None:
                    number = await tx.insert(
                        "INSERT INTO embedders (fingerprint, dimension) VALUES (?, ?)", (fingerprint, dimension)
                    )
                    await tx.execute(
                        f"CREATE VIRTUAL TABLE vectors_{number} USING vec0 (document_id INTEGER PRIMARY KEY,"
                        f" embedding float[{dimension}] distance_metric=cosine, kind TEXT, campaign INTEGER,"
                        " domain TEXT)"
                    )
                    known = (number, dimension)
        if known[1] != dimension:
            raise StorageError(
                f"Expected embedder {fingerprint} to give vectors of length {known[1]}, but it says {dimension}."
            )
        return f"vectors_{known[0]}"

    def _pack(self, vector: Sequence[float]) -> bytes:
        """float32 little endian. sqlite-vec accepts NaN and zero vectors, which would poison every search."""
        length = math.sqrt(math.fsum(value * value for value in vector))
        if len(vector) != self._embedder.dimension or not math.isfinite(length) or length == 0.0:
            raise StorageError(
                f"Expected embedder {self._embedder.fingerprint} to give a finite vector of length "
                f"{self._embedder.dimension} that is not zero, but got one of length {len(vector)} with norm {length}."
            )
        return struct.pack(f"<{len(vector)}f", *(value / length for value in vector))


async def _embedder_row(reader: Reader, fingerprint: str) -> tuple[int, int] | None:
    row = await reader.one("SELECT id, dimension FROM embedders WHERE fingerprint = ?", (fingerprint,))
    return (row["id"], row["dimension"]) if row is not None else None
