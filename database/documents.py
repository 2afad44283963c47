"""Search over every text of a workspace: motivations, analyses, lessons and cognition, by words or by meaning."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .connection import Database, Reader, Transaction
from .embedding import Embedder, VectorIndex

DocumentKind = Literal["motivation", "analysis", "lesson", "cognition"]
MAX_QUERY_TERMS = 64


@dataclass(frozen=True)
class Hit:
    """A document that was found. `score` orders the hits of one search; higher is better."""

    ref_id: int
    score: float


@dataclass(frozen=True)
class Found:
    """The answer to a search, and how it was found."""

    hits: list[Hit]
    method: str
    """`lexical`, or the fingerprint of the embedder."""


async def put(
    tx: Transaction,
    kind: DocumentKind,
    ref_id: int,
    text: str,
    *,
    campaign_id: int | None = None,
    domain: str | None = None,
) -> None:
    """Make a text searchable, in the transaction that stores what it belongs to."""
    await tx.execute(
        "INSERT INTO documents (kind, ref_id, campaign_id, domain, text) VALUES (?, ?, ?, ?, ?)",
        (kind, ref_id, campaign_id, domain, text),
    )


async def replace_text(tx: Transaction, kind: DocumentKind, ref_id: int, text: str) -> None:
    """Search by another text from now on, in the transaction that changes what it belongs to."""
    await tx.execute("UPDATE documents SET text = ? WHERE kind = ? AND ref_id = ?", (text, kind, ref_id))


class DocumentSearch:
    """Finds documents by meaning where there is an embedder, else by words."""

    def __init__(self, database: Database, embedder: Embedder | None = None) -> None:
        self._reader = database.read
        self._embedder = embedder
        self._vectors = VectorIndex(database, embedder) if embedder is not None else None

    async def find(
        self,
        queries: str | Sequence[str],
        kind: DocumentKind,
        *,
        campaigns: Sequence[int] | None = None,
        domain: str | None = None,
        among: Sequence[int] | None = None,
        limit: int = 5,
    ) -> Found:
        """The documents of one kind that fit any of some queries best.

        Args:
            campaigns: only those of these campaigns.
            domain: only those of this domain, or of none (knowledge for every domain).
            among: only those that belong to one of these numbers, such as the items that carry a tag.
        """
        best: dict[int, float] = {}
        for query in [queries] if isinstance(queries, str) else queries:
            for hit in await self._by_one(query, kind, campaigns, domain, among, limit):
                best[hit.ref_id] = max(hit.score, best.get(hit.ref_id, hit.score))
        ordered = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:limit]
        return Found([Hit(ref_id, score) for ref_id, score in ordered], self._method)

    @property
    def _method(self) -> str:
        return self._embedder.fingerprint if self._embedder is not None else "lexical"

    async def _by_one(
        self,
        query: str,
        kind: DocumentKind,
        campaigns: Sequence[int] | None,
        domain: str | None,
        among: Sequence[int] | None,
        limit: int,
    ) -> list[Hit]:
        if self._vectors is None:
            return await _lexical(self._reader, query, kind, campaigns, domain, among, limit)
        await self._vectors.update()
        near = await self._vectors.nearest(
            query, kind=kind, campaigns=campaigns, domain=domain, among=among, limit=limit
        )
        return [Hit(ref_id, score) for ref_id, score in near]


async def _lexical(
    reader: Reader,
    query: str,
    kind: str,
    campaigns: Sequence[int] | None,
    domain: str | None,
    among: Sequence[int] | None,
    limit: int,
) -> list[Hit]:
    match = match_expression(query)
    if not match:
        return []
    rows = await reader.all(
        "SELECT d.ref_id, -bm25(documents_fts) AS score FROM documents_fts JOIN documents AS d"
        " ON d.id = documents_fts.rowid WHERE documents_fts MATCH ?1 AND d.kind = ?2"
        " AND (?3 IS NULL OR d.campaign_id IN (SELECT value FROM json_each(?3)))"
        " AND (?4 IS NULL OR d.domain = ?4 OR d.domain IS NULL)"
        " AND (?5 IS NULL OR d.ref_id IN (SELECT value FROM json_each(?5)))"
        " ORDER BY score DESC, d.id LIMIT ?6",
        (match, kind, _json_list(campaigns), domain, _json_list(among), limit),
    )
    return [Hit(row["ref_id"], row["score"]) for row in rows]


def _json_list(numbers: Sequence[int] | None) -> str | None:
    return json.dumps(list(numbers)) if numbers is not None else None


def match_expression(query: str) -> str:
    """Free text as an FTS5 expression: any of its words, each quoted so that nothing in it is an operator."""
    words = dict.fromkeys(word for word in re.findall(r"\w+", query.lower()) if len(word) > 1)
    return " OR ".join(f'"{word}"' for word in list(words)[:MAX_QUERY_TERMS])
