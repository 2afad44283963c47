"""Search over every text of a workspace: motivations, analyses, lessons and cognition, by words or by meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ...evolution.diversity import jaccard, maximal_marginal_relevance
from ...evolution.errors import EvolveError
from ...evolution.rank_fusion import reciprocal_rank_fusion
from ...evolution.text import excerpt, inert
from ..connection import Database, Transaction
from .embedding import Embedder
from .scope import DocumentKind, Scope
from .semantic_search import SemanticSearch
from .stems import stemmed_words
from .text_index import Scored, TextIndex

SearchMode = Literal["vector", "lexical", "hybrid"]
CANDIDATES_PER_HIT = 4
MOST_CANDIDATES = 200
"""Out of so many the diverse hits are chosen: their number squared is compared."""
FUSED_AT_LEAST = 50
LONGEST_REASON = 200
Likeness = Callable[[int, int], float]
"""How alike two documents are, by their numbers: 1 for equal ones."""


@dataclass(frozen=True)
class Hit:
    """A document that was found. `score` orders the hits of one search; higher is better.

    Its scale is that of the method: the cosine similarity (-1 to 1) by meaning, BM25 by words, the sum of reciprocal
    ranks in a hybrid.
    """

    ref_id: int
    score: float


@dataclass(frozen=True)
class _Candidates:
    """What a method found, before some are chosen for being unlike each other."""

    best: list[Scored]
    method: str
    have_vectors: bool


@dataclass(frozen=True)
class Found:
    """The answer to a search, and how it was found."""

    hits: list[Hit]
    method: str
    """The fingerprint of the embedder; `hybrid (fingerprint and words)`; or `lexical`, in brackets why not by meaning
    where there is an embedder."""


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
    """Finds documents by meaning where there is an embedder that is ready, else by words.

    Args:
        mode: `vector` asks the vectors alone, `hybrid` both and fuses the ranks, `lexical` the words alone.
    """

    def __init__(self, database: Database, embedder: Embedder | None = None, mode: SearchMode = "vector") -> None:
        self._reader = database.read
        self._driver = database.driver
        self._words = TextIndex(database.read)
        self._meaning = SemanticSearch(database, embedder) if embedder is not None and mode != "lexical" else None
        self._mode = mode

    async def find(
        self,
        queries: str | Sequence[str],
        kind: DocumentKind,
        *,
        campaigns: Sequence[int] | None = None,
        domain: str | Sequence[str] | None = None,
        among: Sequence[int] | None = None,
        limit: int = 5,
        threshold: float | None = None,
        diversity: float = 0.0,
    ) -> Found:
        """The documents of one kind that fit any of some queries best, best first.

        Args:
            campaigns: only those of these campaigns.
            domain: only those of this domain or these, or of none (knowledge for every domain).
            among: only those that belong to one of these numbers, such as the items that carry a tag.
            threshold: only those with at least this cosine similarity. Words have no such scale: a lexical search, and
                the lexical half of a hybrid one, pass it by.
            diversity: above 0, up to 1, the hits are chosen for being unlike each other too (maximal marginal
                relevance), by the cosine of their vectors or the words that they share.
        """
        asked = [query for query in ([queries] if isinstance(queries, str) else queries) if query.strip()]
        reach = max(limit, min(CANDIDATES_PER_HIT * limit, MOST_CANDIDATES)) if diversity > 0 else limit
        found = await self._candidates(asked, Scope.of(kind, campaigns, domain, among), reach, threshold)
        best = await self._unlike(found, diversity, limit) if diversity > 0 else found.best
        return Found([Hit(document.ref_id, document.score) for document in best], found.method)

    async def catch_up(self) -> None:
        """Wait until every text can be found by the method that was chosen.

        Raises:
            EmbedderUnavailable: the embedder fails.
        """
        if self._meaning is not None:
            await self._meaning.catch_up()

    async def close(self) -> None:
        """End the work in the background."""
        if self._meaning is not None:
            await self._meaning.close()

    async def _candidates(
        self, queries: Sequence[str], scope: Scope, reach: int, threshold: float | None
    ) -> _Candidates:
        method = "lexical"
        if self._meaning is not None:
            depth = max(reach, FUSED_AT_LEAST) if self._mode == "hybrid" else reach
            try:
                near = await self._meaning.nearest(queries, scope, depth)
            except EvolveError as error:
                method = f"lexical ({excerpt(inert(' '.join(str(error).split())), LONGEST_REASON)})"
            else:
                near = [document for document in near if threshold is None or document.score >= threshold]
                if self._mode == "vector":
                    return _Candidates(near, self._meaning.method, have_vectors=True)
                both = _fused(near, await self._words.best(queries, scope, depth))[:reach]
                return _Candidates(both, f"hybrid ({self._meaning.method} and lexical)", have_vectors=True)
        return _Candidates(await self._words.best(queries, scope, reach), method, have_vectors=False)

    async def _unlike(self, found: _Candidates, diversity: float, limit: int) -> list[Scored]:
        """The best that are also unlike each other. Scores that are no cosine count as shares of the highest."""
        documents = [document.document_id for document in found.best]
        likeness = await (self._cosines(documents) if found.have_vectors else self._shared_words(documents))
        are_cosines = found.have_vectors and self._mode == "vector"
        highest = 1.0 if are_cosines else max((document.score for document in found.best), default=1.0) or 1.0
        chosen = maximal_marginal_relevance(
            [document.score / highest for document in found.best],
            lambda a, b: likeness(documents[a], documents[b]),
            diversity,
            limit,
        )
        return [found.best[at] for at in chosen]

    async def _cosines(self, documents: Sequence[int]) -> Likeness:
        assert self._meaning is not None
        cosines = await self._meaning.similarities(documents)
        # A document that lost its vector a moment ago is like none.
        return lambda a, b: cosines.get((min(a, b), max(a, b)), 0.0)

    async def _shared_words(self, documents: Sequence[int]) -> Likeness:
        marks = ", ".join("?" * len(documents))
        rows = await self._reader.all(f"SELECT id, text FROM documents WHERE id IN ({marks})", documents)
        stemmed = await asyncio.to_thread(stemmed_words, self._driver, [row["text"] for row in rows])
        words = {row["id"]: own for row, own in zip(rows, stemmed, strict=True)}
        return lambda a, b: jaccard(words.get(a, frozenset()), words.get(b, frozenset()))


def _fused(near: Sequence[Scored], by_words: Sequence[Scored]) -> list[Scored]:
    """One ranking out of two whose scores cannot be compared."""
    owner = {document.document_id: document.ref_id for document in (*near, *by_words)}
    ranked = reciprocal_rank_fusion([[document.document_id for document in ranking] for ranking in (near, by_words)])
    return [Scored(document_id, owner[document_id], score) for document_id, score in ranked]
