"""Search by meaning: loads the embedder and embeds what is new in the background, and says why it cannot answer yet."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import anyio

from ...evolution.errors import EmbedderUnavailable, EvolveError
from ..connection import Database
from .embedding import Embedder, packed_queries
from .scope import DocumentKind, Scope
from .text_index import Scored
from .vector_index import BATCH, VectorIndex

logger = logging.getLogger(__name__)

PATIENCE_S = 0.3
"""How long the first search waits for an embedder that loads quickly."""
LONGEST_ANSWER_S = 10.0
"""How long a search waits for an embedder that is loaded, before words answer."""
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 300.0
"""An embedder that failed is left alone, each time twice as long."""


class SemanticSearch:
    """The nearest documents by the vectors of one embedder, as soon as it is loaded and has embedded them."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database = database
        self._embedder = embedder
        self._index: VectorIndex | None = None
        self._task: asyncio.Task[None] | None = None
        self._working = anyio.CancelScope()
        self._loading_ended = asyncio.Event()
        self._failures = 0
        self._trouble = ""
        self._retry_at = 0.0

    @property
    def method(self) -> str:
        """How an answer of this search was found."""
        return self._embedder.fingerprint

    async def nearest(self, queries: Sequence[str], scope: Scope, limit: int) -> list[Scored]:
        """Nearest first. Up to a batch of texts of that kind that have no vector is embedded before.

        Raises:
            EmbedderUnavailable: it loads, embeds or has failed; the message says which, and goes into an answer.
        """
        if time.monotonic() < self._retry_at:
            raise EmbedderUnavailable(self._trouble)
        index = await self._loaded(scope.kind)
        try:
            with anyio.fail_after(LONGEST_ANSWER_S):
                vectors = await self._question(index, queries, scope.kind)
            self._failures = 0
            return await index.nearest(vectors, scope, limit)
        except TimeoutError as error:
            slow = EmbedderUnavailable(f"{self.method} took longer than {LONGEST_ANSWER_S:g} s")
            self._note(slow)
            raise slow from error
        except _Behind:
            self._work(scope.kind)
            raise
        except EvolveError as error:
            self._note(error)
            raise

    async def _question(self, index: VectorIndex, queries: Sequence[str], kind: DocumentKind) -> list[bytes]:
        """The vectors of the queries, when those of the texts are in step."""
        missing = await index.missing(kind, BATCH + 1)
        if missing > BATCH:
            done, texts = await index.progress(kind)
            raise _Behind(f"{self.method}: {done:,} of {texts:,} texts embedded")
        if missing:
            await index.embed_missing(kind)
        return await packed_queries(self._embedder, queries)

    async def similarities(self, documents: Sequence[int]) -> dict[tuple[int, int], float]:
        """Cosine similarity of each pair (lower number first) of documents that were found."""
        return await (await self._prepared()).similarities(documents)

    async def catch_up(self) -> None:
        """Wait until the embedder is loaded and every text has its vector.

        Raises:
            EmbedderUnavailable: the embedder fails.
        """
        index = await self._prepared()
        while await index.embed_missing():
            pass

    async def close(self) -> None:
        """End the work in the background. What is embedded so far is kept."""
        # Not the task itself: a transaction under way is shielded from its scope alone.
        self._working.cancel()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _loaded(self, kind: DocumentKind) -> VectorIndex:
        if self._index is None:
            self._work(kind)
            with anyio.move_on_after(PATIENCE_S):
                await self._loading_ended.wait()
        if self._index is None:
            raise EmbedderUnavailable(self._trouble or "the embedder is loading")
        return self._index

    def _work(self, kind: DocumentKind) -> None:
        """Go on in the background, where that is not so already."""
        if self._task is None or self._task.done():
            self._loading_ended.clear()
            self._task = asyncio.create_task(self._keep_in_step(kind))
            self._task.add_done_callback(self._ended)

    async def _keep_in_step(self, kind: DocumentKind) -> None:
        with anyio.CancelScope() as self._working:
            index = await self._prepared()
            while await index.embed_missing(kind) or await index.embed_missing():
                await asyncio.sleep(0)
            await index.drop_unused()

    async def _prepared(self) -> VectorIndex:
        if self._index is None:
            await self._embedder.prepare()
            self._index = self._index or VectorIndex(self._database, self._embedder)
            self._loading_ended.set()
        return self._index

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._note(error)
        elif not task.cancelled():
            self._failures = 0
        self._loading_ended.set()

    def _note(self, error: BaseException) -> None:
        """Remember why it does not work, and leave the embedder alone for a while."""
        anticipated = isinstance(error, EvolveError)
        trouble = str(error) if anticipated else f"the embedder failed unexpectedly: {type(error).__name__}"
        if trouble != self._trouble:
            logger.warning("search is by words: %s", trouble, exc_info=None if anticipated else error)
        self._trouble = trouble
        self._retry_at = time.monotonic() + min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
        self._failures += 1


class _Behind(EmbedderUnavailable):
    """Texts are being embedded: nothing is wrong."""
