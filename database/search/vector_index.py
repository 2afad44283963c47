"""The vector index: the vectors of one embedder, kept in step with the texts, and the texts nearest to a query.

A disposable index: everything in it can be made again from `documents`. Which texts wait for a vector is written by
triggers in the transaction that writes the text, so nothing that ends a process leaves the two out of step unnoticed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ...evolution.errors import EmbedderUnavailable
from ..connection import Database, Row
from .embedding import Embedder, packed_documents
from .scope import DocumentKind, Scope
from .text_index import Scored
from .vector_matrix import VectorMatrix

BATCH = 32
"""Texts that are embedded and stored at once."""
SCANNED_ROWS = 2_000
"""Up to so many vectors are compared inside SQLite, at 2 to 3 microseconds each; more are held in memory."""
FORGET_AFTER_S = 30 * 86_400.0
DROPPED_AT_ONCE = 1_000
USE_IS_NOTED_EVERY_S = 86_400.0


class VectorIndex:
    """The vectors of one prepared embedder."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database = database
        self._embedder = embedder
        self._embedding = asyncio.Lock()
        self._matrices: dict[tuple[int, str], VectorMatrix] = {}

    async def missing(self, kind: DocumentKind, limit: int) -> int:
        """How many texts of a kind wait for their vector; counted up to a limit."""
        return int(
            await self._database.read.value(
                "SELECT count(*) FROM (SELECT 1 FROM unembedded WHERE embedder_id = ? AND kind = ? LIMIT ?)",
                (await self.number(), kind, limit),
            )
        )

    async def embed_missing(self, kind: DocumentKind | None = None) -> int:
        """Embed texts (of one kind) that have no vector yet, at most a batch, and return how many those were.

        The model runs outside of any transaction. A text that changed or went away meanwhile, or that another process
        embedded, keeps what it has.

        Raises:
            EmbedderUnavailable: the embedder fails. Nothing of the batch is stored.
        """
        async with self._embedding:
            number = await self.number()
            of_kind, parameters = (" AND u.kind = ?", [kind]) if kind is not None else ("", [])
            # In the order of the queue's key: to sort it anew for each batch would cost more than the model.
            rows = await self._database.read.all(
                "SELECT d.id, d.kind, d.text FROM unembedded AS u CROSS JOIN documents AS d ON d.id = u.document_id"
                f" WHERE u.embedder_id = ?{of_kind} ORDER BY u.kind, u.document_id LIMIT ?",
                [number, *parameters, BATCH],
            )
            if rows:
                await self._store(number, rows, await packed_documents(self._embedder, [row["text"] for row in rows]))
            return len(rows)

    async def _store(self, number: int, rows: Sequence[Row], vectors: Sequence[bytes]) -> None:
        keys = [(number, row["kind"], row["id"]) for row in rows]
        async with self._database.transaction() as tx:
            await tx.many(
                "INSERT INTO vectors (embedder_id, kind, document_id, embedding)"
                " SELECT u.embedder_id, u.kind, u.document_id, ? FROM unembedded AS u"
                " JOIN documents AS d ON d.id = u.document_id"
                " WHERE u.embedder_id = ? AND u.kind = ? AND u.document_id = ? AND d.text = ?",
                [(vector, *key, row["text"]) for vector, key, row in zip(vectors, keys, rows, strict=True)],
            )
            await tx.many(
                "DELETE FROM unembedded WHERE embedder_id = ? AND kind = ? AND document_id = ? AND EXISTS (SELECT 1"
                " FROM vectors AS v WHERE v.embedder_id = unembedded.embedder_id"
                " AND v.document_id = unembedded.document_id)",
                keys,
            )

    async def nearest(self, queries: Sequence[bytes], scope: Scope, limit: int) -> list[Scored]:
        """The documents nearest to any of some query vectors, nearest first; the score is the cosine similarity."""
        if scope.is_empty or not queries:
            return []
        number = await self.number()
        condition, parameters = scope.condition
        rows = await self._database.read.value(
            f"SELECT count(*) FROM (SELECT 1 FROM documents AS d WHERE {condition} LIMIT ?)",
            [*parameters, SCANNED_ROWS + 1],
        )
        if rows <= SCANNED_ROWS or scope.among is not None:  # the vectors in memory do not know their owners
            return await self._scanned(number, queries, scope, limit)
        return await self._from_memory(number, queries, scope, limit)

    async def _scanned(self, number: int, queries: Sequence[bytes], scope: Scope, limit: int) -> list[Scored]:
        condition, parameters = scope.condition
        distances = ", ".join(["vec_distance_cosine(v.embedding, ?)"] * len(queries))
        rows = await self._database.read.all(
            f"SELECT d.id, d.ref_id, {f'min({distances})' if len(queries) > 1 else distances} AS distance"
            " FROM documents AS d CROSS JOIN vectors AS v ON v.document_id = d.id AND v.embedder_id = ?"
            f" WHERE {condition} ORDER BY distance, d.id LIMIT ?",
            [*queries, number, *parameters, limit],
        )
        return [Scored(row["id"], row["ref_id"], 1.0 - row["distance"]) for row in rows]

    async def _from_memory(self, number: int, queries: Sequence[bytes], scope: Scope, limit: int) -> list[Scored]:
        matrix = self._matrix(number, scope.kind)
        await matrix.extend(self._database.read)
        while True:
            near = await asyncio.to_thread(matrix.nearest, queries, scope, limit)
            rows = await self._database.read.all(
                "SELECT v.id, d.id AS document_id, d.ref_id FROM vectors AS v JOIN documents AS d"
                f" ON d.id = v.document_id WHERE v.id IN ({', '.join('?' * len(near))})",
                [vector_id for vector_id, _ in near],
            )
            documents = {row["id"]: (row["document_id"], row["ref_id"]) for row in rows}
            gone = [vector_id for vector_id, _ in near if vector_id not in documents]
            if not gone:
                return [Scored(*documents[vector_id], similarity) for vector_id, similarity in near]
            # The texts of these were changed or deleted after the vectors had been read.
            matrix.forget(gone)

    def _matrix(self, number: int, kind: DocumentKind) -> VectorMatrix:
        if (number, kind) not in self._matrices:
            self._matrices[number, kind] = VectorMatrix(number, kind, self._embedder.dimension)
        return self._matrices[number, kind]

    async def similarities(self, documents: Sequence[int]) -> dict[tuple[int, int], float]:
        """Cosine similarity of each pair (lower number first) of some documents."""
        rows = await self._database.read.all(
            "WITH some AS MATERIALIZED (SELECT document_id AS id, embedding FROM vectors WHERE embedder_id = ?"
            f" AND document_id IN ({', '.join('?' * len(documents))}))"
            " SELECT a.id AS a, b.id AS b, vec_distance_cosine(a.embedding, b.embedding) AS distance"
            " FROM some AS a JOIN some AS b ON a.id < b.id",
            [await self.number(), *documents],
        )
        return {(row["a"], row["b"]): 1.0 - row["distance"] for row in rows}

    async def number(self) -> int:
        """The number of this embedder in the workspace, which it gets at first use. Notes once a day that it is used.

        Raises:
            EmbedderUnavailable: the fingerprint is known with another dimension.
        """
        fingerprint, dimension = self._embedder.fingerprint, self._embedder.dimension
        row = await self._row()
        if row is None or row["last_used"] < time.time() - USE_IS_NOTED_EVERY_S:
            async with self._database.transaction() as tx:
                await tx.execute(
                    "INSERT INTO embedders (fingerprint, dimension, last_used) VALUES (?, ?, ?)"
                    " ON CONFLICT (fingerprint) DO UPDATE SET last_used = excluded.last_used",
                    (fingerprint, dimension, time.time()),
                )
                if row is None:
                    await tx.execute(
                        "INSERT OR IGNORE INTO unembedded SELECT e.id, d.kind, d.id FROM embedders AS e, documents AS d"
                        " WHERE e.fingerprint = ? AND NOT EXISTS"
                        " (SELECT 1 FROM vectors WHERE embedder_id = e.id AND document_id = d.id)",
                        (fingerprint,),
                    )
            row = await self._row()
        if row["dimension"] != dimension:
            raise EmbedderUnavailable(
                f"Expected embedder {fingerprint} to give vectors of length {row['dimension']}, but it says "
                f"{dimension}. Give the changed model another name or revision."
            )
        return int(row["id"])

    async def _row(self) -> Row:
        return await self._database.read.one(
            "SELECT id, dimension, last_used FROM embedders WHERE fingerprint = ?", (self._embedder.fingerprint,)
        )

    async def drop_unused(self) -> None:
        """Drop what embedders left behind that no process has used for `FORGET_AFTER_S`.

        A live process notes its use once a day when it searches; one that slept longer is a new user when it wakes.
        """
        async with self._database.transaction() as tx:
            await tx.execute("DELETE FROM embedders WHERE last_used < ?", (time.time() - FORGET_AFTER_S,))
            await tx.execute("DELETE FROM unembedded WHERE embedder_id NOT IN (SELECT id FROM embedders)")
        removed = DROPPED_AT_ONCE
        while removed == DROPPED_AT_ONCE:  # in turns with other writers
            async with self._database.transaction() as tx:
                removed = await tx.execute(
                    "DELETE FROM vectors WHERE id IN (SELECT id FROM vectors WHERE embedder_id IN (SELECT DISTINCT"
                    " embedder_id FROM vectors WHERE embedder_id NOT IN (SELECT id FROM embedders)) LIMIT ?)",
                    (DROPPED_AT_ONCE,),
                )

    async def progress(self, kind: DocumentKind) -> tuple[int, int]:
        """(texts of a kind that have their vector, texts of that kind)."""
        row = await self._database.read.one(
            "SELECT (SELECT count(*) FROM documents WHERE kind = ?1) AS texts,"
            " (SELECT count(*) FROM unembedded WHERE embedder_id = ?2 AND kind = ?1) AS missing",
            (kind, await self.number()),
        )
        texts = int(row["texts"]) if row is not None else 0
        return texts - (int(row["missing"]) if row is not None else 0), texts
