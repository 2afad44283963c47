"""The vectors of one embedder and kind in this process's memory: the fastest exact search over many of them.

Four bytes a number: 154 MB for 100,000 vectors of length 384. Loaded when a search first has so many to compare, and
extended by what was stored since.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..connection import Reader, Row
from .scope import DocumentKind, Scope

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_ROWS = 4_096


@dataclass(frozen=True)
class Block:
    """Some vectors, one a row, and what each belongs to. Never changed, so a search in a thread may hold on to it."""

    vectors: NDArray[np.float32]
    ids: NDArray[np.int64]
    campaigns: NDArray[np.int64]
    domains: NDArray[np.int64]
    owners: NDArray[np.int64]
    """`documents.ref_id`."""

    def where(self, keep: NDArray[np.bool_]) -> Block:
        """Only some of the rows."""
        return Block(self.vectors[keep], self.ids[keep], self.campaigns[keep], self.domains[keep], self.owners[keep])

    def joined(self, later: Block) -> Block:
        """The rows of both."""
        import numpy as np

        return Block(
            np.concatenate((self.vectors, later.vectors)),
            np.concatenate((self.ids, later.ids)),
            np.concatenate((self.campaigns, later.campaigns)),
            np.concatenate((self.domains, later.domains)),
            np.concatenate((self.owners, later.owners)),
        )


class VectorMatrix:
    """The vectors of one embedder for one kind of text."""

    def __init__(self, embedder_id: int, kind: DocumentKind, dimension: int) -> None:
        self._embedder_id = embedder_id
        self._kind = kind
        self._dimension = dimension
        self._last_id = 0
        self._blocks: list[Block] = []
        self._domains: dict[str, int] = {"": 0}
        self._extending = asyncio.Lock()

    async def extend(self, reader: Reader) -> None:
        """Take over the vectors that were stored since the last time."""
        async with self._extending:
            while True:
                # Numbers only grow, and one writer at a time gives them: none below the last one comes later.
                rows = await reader.all(
                    "SELECT v.id, v.embedding, d.ref_id, ifnull(d.campaign_id, 0) AS campaign,"
                    " ifnull(d.domain, '') AS domain"
                    " FROM vectors AS v JOIN documents AS d ON d.id = v.document_id"
                    " WHERE v.embedder_id = ? AND v.kind = ? AND v.id > ? ORDER BY v.id LIMIT ?",
                    (self._embedder_id, self._kind, self._last_id, BLOCK_ROWS),
                )
                if not rows:
                    return
                self._append(self._block(rows))
                self._last_id = rows[-1]["id"]

    def _block(self, rows: Sequence[Row]) -> Block:
        import numpy as np

        vectors = np.frombuffer(b"".join(row["embedding"] for row in rows), dtype="<f4")
        domains = [self._domains.setdefault(row["domain"], len(self._domains)) for row in rows]
        return Block(
            vectors.reshape(len(rows), self._dimension),
            np.array([row["id"] for row in rows], dtype=np.int64),
            np.array([row["campaign"] for row in rows], dtype=np.int64),
            np.array(domains, dtype=np.int64),
            np.array([row["ref_id"] for row in rows], dtype=np.int64),
        )

    def _append(self, block: Block) -> None:
        if self._blocks and len(self._blocks[-1].ids) + len(block.ids) <= BLOCK_ROWS:
            self._blocks = [*self._blocks[:-1], self._blocks[-1].joined(block)]
        else:
            self._blocks = [*self._blocks, block]

    def forget(self, vector_ids: Sequence[int]) -> None:
        """Drop vectors that are no longer stored."""
        import numpy as np

        self._blocks = [
            block if not gone.any() else block.where(~gone)
            for block in self._blocks
            for gone in [np.isin(block.ids, vector_ids)]
        ]

    def nearest(self, queries: Sequence[bytes], scope: Scope, limit: int) -> list[tuple[int, float]]:
        """(vector number, highest cosine similarity to any query), highest first."""
        import numpy as np

        questions = [np.frombuffer(query, dtype="<f4") for query in queries]
        best: list[tuple[float, int]] = []
        for whole in self._blocks:
            inside = self._inside(whole, scope)
            block = whole
            if inside is not None and 2 * np.count_nonzero(inside) < len(inside):
                # To copy the few rows that are inside costs less than to compare all.
                block, inside = whole.where(inside), None
            # Row by row: a matrix product would share these few numbers among threads, and lose by it.
            similarity = np.max([np.vecdot(block.vectors, question) for question in questions], axis=0)
            if inside is not None:
                similarity = np.where(inside, similarity, -np.inf)
            top = np.argpartition(similarity, -limit)[-limit:] if limit < len(similarity) else range(len(similarity))
            best += [(float(similarity[at]), -int(block.ids[at])) for at in top if np.isfinite(similarity[at])]
        return [(-negative, similarity) for similarity, negative in heapq.nlargest(limit, best)]

    def _inside(self, block: Block, scope: Scope) -> NDArray[np.bool_] | None:
        """Which rows are in the scope; `None` for all."""
        import numpy as np

        if scope.campaigns is None and scope.domains is None and scope.among is None:
            return None
        inside = np.ones(len(block.ids), dtype=bool)
        if scope.campaigns is not None:
            inside &= np.isin(block.campaigns, scope.campaigns)
        if scope.domains is not None:
            inside &= np.isin(block.domains, [0, *(self._domains.get(domain, 0) for domain in scope.domains)])
        if scope.among is not None:
            inside &= np.isin(block.owners, scope.among)
        return inside
