"""The text index: search by words (FTS5, BM25), whose cost is bounded however long the query and common its words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ..connection import Reader
from .scope import Scope

COMMON = 4_000
"""A word in this many texts tells little of any; it is asked for only where the others find too few texts."""
RANKED_POSTINGS = 10_000
"""Texts that the words of a query may stand in, together: to rank one takes about a microsecond."""
RANKED_TEXTS = 20_000
"""Texts that are ranked at most, the newest first: the bound for a query that is made of common words."""
MOST_WORDS_READ = 128
MOST_WORDS_USED = 32
COMMON_WORDS_USED = 3


@dataclass(frozen=True)
class Scored:
    """A document that was found."""

    document_id: int
    ref_id: int
    score: float


class TextIndex:
    """Finds documents that hold any word of a query, in any grammatical form."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def best(self, queries: Sequence[str], scope: Scope, limit: int) -> list[Scored]:
        """Best first, equal ones oldest first; the score is BM25 of the query that a document fits best."""
        found: dict[int, Scored] = {}
        for query in queries:
            for hit in await self._of_one(query, scope, limit):
                if hit.document_id not in found or hit.score > found[hit.document_id].score:
                    found[hit.document_id] = hit
        return sorted(found.values(), key=lambda hit: (-hit.score, hit.document_id))[:limit]

    async def _of_one(self, query: str, scope: Scope, limit: int) -> list[Scored]:
        if scope.is_empty:
            return []
        telling, common = _told_apart(await self._counted_words(query))
        found = await self._ranked(telling, scope, limit)
        if len(found) < limit:
            known = {hit.document_id for hit in found}
            more = await self._ranked(common, scope, limit)
            found += [hit for hit in more if hit.document_id not in known][: limit - len(found)]
        return found

    async def _ranked(self, words: Sequence[str], scope: Scope, limit: int) -> list[Scored]:
        if not words:
            return []
        among, parameters = "", list[Any]()
        if scope.among is not None:
            condition, parameters = scope.condition
            # The plus keeps SQLite from asking the text index once for each number.
            among = f" AND +rowid IN (SELECT d.id FROM documents AS d WHERE {condition})"
        rows = await self._reader.all(
            "SELECT d.id, d.ref_id, found.score FROM (SELECT id, score FROM"
            " (SELECT rowid AS id, -bm25(documents_fts, 1.0, 0.0) AS score FROM documents_fts"
            f" WHERE documents_fts MATCH ?{among} ORDER BY rowid DESC LIMIT ?)"
            " ORDER BY score DESC, id LIMIT ?) AS found JOIN documents AS d ON d.id = found.id",
            [f"{scope.words} AND text : ({' OR '.join(words)})", *parameters, RANKED_TEXTS, limit],
        )
        return [Scored(row["id"], row["ref_id"], row["score"]) for row in rows]

    async def _counted_words(self, query: str) -> list[tuple[str, int]]:
        """(word, texts that hold it, counted up to `COMMON`), rarest first; words that none holds are left out."""
        rows = await self._reader.all(
            "SELECT value AS word, (SELECT count(*) FROM"
            " (SELECT 1 FROM documents_fts WHERE documents_fts MATCH 'text : ' || value LIMIT ?)) AS texts"
            " FROM json_each(?)",
            (COMMON, json.dumps(_quoted_words(query))),
        )
        return sorted(((row["word"], row["texts"]) for row in rows if row["texts"] > 0), key=lambda word: word[1])


def _told_apart(counted: Sequence[tuple[str, int]]) -> tuple[list[str], list[str]]:
    """The words that say most, and a few that say little, for want of better ones.

    A word's weight in BM25 falls with the number of texts that hold it, and its cost grows with it.
    """
    postings = list(accumulate(texts for _, texts in counted))
    fits = [
        texts < COMMON and together <= RANKED_POSTINGS and place < MOST_WORDS_USED
        for place, ((_, texts), together) in enumerate(zip(counted, postings, strict=True))
    ]
    words = [word for word, _ in counted]
    telling = sum(fits)
    return words[:telling], words[telling : telling + COMMON_WORDS_USED]


def _quoted_words(query: str) -> list[str]:
    """Each word once, quoted so that nothing in it is an operator of FTS5."""
    words = dict.fromkeys(word for word in re.findall(r"\w+", query.lower()) if len(word) > 1)
    return [f'"{word}"' for word in list(words)[:MOST_WORDS_READ]]
