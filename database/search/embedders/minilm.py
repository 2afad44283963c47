"""The embedder `minilm`: all-MiniLM-L6-v2 on this machine, loaded at first need and run in worker threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....evolution.errors import EmbedderUnavailable
from . import weights
from .weights import Place

if TYPE_CHECKING:
    from .bert import SentenceEncoder

logger = logging.getLogger(__name__)

DIMENSION = 384
HEADS = 12
MAX_PIECES = 256
"""As in the model's sentence_bert_config.json: what a text says after that many word pieces is not in its vector."""
MAX_CHARACTERS = 65_536
"""Beyond these no text is cut into pieces at all: `MAX_PIECES` of them lie far before."""
BATCH_TEXTS = 16
BATCH_PIECES = 1024
"""Padding counted. On one thread larger batches gain nothing, and a query waits for the batch under way."""


class MiniLM:
    """Vectors of length 384 that agree with sentence-transformers to 1e-5.

    Args:
        named: the folder of the weights; else they are looked for where people have them.
    """

    fingerprint = f"minilm/all-MiniLM-L6-v2@{weights.REVISION[:8]}"
    dimension = DIMENSION

    def __init__(self, named: Path | None = None) -> None:
        self._named = named
        self._lock = threading.Lock()
        self._model: _Model | None = None
        self._failure: str | None = None
        self._place: Place | None = None
        self._refused: list[str] = []

    @property
    def source(self) -> str:
        """Where the weights came from, for people; known after `prepare`."""
        not_used = f"; not used: {' '.join(self._refused)}" if self._refused else ""
        return f"weights from {self._place}, SHA-256 as published{not_used}"

    async def prepare(self) -> None:
        """Load the weights. A failure stands until the process ends: files do not mend themselves.

        Raises:
            EmbedderUnavailable: there are no weights, none of the published ones, or no tokenizers or safetensors.
        """
        if self._model is None:
            await asyncio.to_thread(self._loaded)

    async def encode_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text."""
        model = self._model or await asyncio.to_thread(self._loaded)
        pieces = await asyncio.to_thread(lambda: [model.pieces(text) for text in texts])
        vectors: list[list[float]] = [[]] * len(texts)
        for batch in _batches([len(some) for some in pieces]):
            encoded = await asyncio.to_thread(self._encode, model, [pieces[index] for index in batch])
            for index, vector in zip(batch, encoded, strict=True):
                vectors[index] = vector
        return vectors

    async def encode_queries(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each query: this model makes no difference."""
        return await self.encode_documents(texts)

    def _encode(self, model: _Model, pieces: Sequence[Sequence[int]]) -> list[list[float]]:
        with self._lock:  # two at a time take as long, and one that ends would give the other its threads back
            return model.encode(pieces)

    def _loaded(self) -> _Model:
        with self._lock:
            if self._failure is not None:
                raise EmbedderUnavailable(self._failure)
            if self._model is None:
                try:
                    self._place = self._checked_place()
                    self._model = _Model(self._place.folder)
                except EmbedderUnavailable as error:
                    self._failure = str(error)
                    raise
            return self._model

    def _checked_place(self) -> Place:
        """The first place with the right files; one with wrong files does not hide a later one with right ones."""
        for place in weights.there(self._named):
            try:
                weights.check(place)
            except EmbedderUnavailable as error:
                self._refused.append(str(error))
                logger.warning("%s", error)
            else:
                return place
        if self._refused:
            raise EmbedderUnavailable(" ".join(self._refused))
        looked = ", ".join(str(place) for place in weights.places(self._named))
        raise EmbedderUnavailable(
            f"Expected the weights of all-MiniLM-L6-v2 in one of {looked}, but they are in none. Do: {weights.REMEDY}; "
            "then start the server again."
        )


class _Model:
    """Tokenizer, encoder and the threads of its BLAS.

    The products of this model are too small to share: on a busy machine threads that wait for each other take several
    times as long as one alone. A variable such as OPENBLAS_NUM_THREADS would have to be set before anybody imports
    numpy, and the engineer and its candidates would inherit it; so threadpoolctl asks the loaded library itself, for as
    long as a batch takes.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import numpy as np
            from safetensors import SafetensorError, safe_open
            from threadpoolctl import ThreadpoolController  # pyright: ignore[reportMissingTypeStubs]
            from tokenizers import Tokenizer

            from .bert import SentenceEncoder
        except ImportError as error:
            raise EmbedderUnavailable(
                f"Expected numpy, tokenizers, safetensors and threadpoolctl to be installed, but: {error}. "
                "Install asi-evolve-mcp again."
            ) from error
        try:
            opened: Any = safe_open(folder / weights.MODEL.name, framework="np")
            with opened as tensors:
                names: list[str] = [name for name in tensors.keys() if name != "embeddings.position_ids"]  # noqa: SIM118
                found = {name: tensors.get_tensor(name) for name in names}
        except (OSError, SafetensorError) as error:
            raise EmbedderUnavailable(f"Expected to load {folder / weights.MODEL.name}, but: {error}.") from error
        self._numpy: Any = np
        self._encoder: SentenceEncoder = SentenceEncoder(found, HEADS)
        self._tokenizer: Any = Tokenizer.from_file(str(folder / weights.TOKENIZER.name))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_PIECES)
        self._threads: Any = ThreadpoolController()

    def pieces(self, text: str) -> list[int]:
        """Ids of the word pieces of a text. One text at a time: a batch would start a pool of threads of its own."""
        whole = text[:MAX_CHARACTERS].encode(errors="replace").decode()  # a lone surrogate is no text
        return self._tokenizer.encode(whole).ids

    def encode(self, pieces: Sequence[Sequence[int]]) -> list[list[float]]:
        """Unit vectors of some texts, padded to the longest."""
        np = self._numpy
        longest = max(map(len, pieces))
        ids = np.zeros((len(pieces), longest), dtype=np.int64)  # 0 is [PAD]
        mask = np.zeros((len(pieces), longest), dtype=np.float32)
        for row, some in enumerate(pieces):
            ids[row, : len(some)] = some
            mask[row, : len(some)] = 1.0
        with self._threads.limit(limits=1, user_api="blas"):
            return self._encoder(ids, mask).tolist()


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of texts that are encoded together: of like length, so that little is padded."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == BATCH_TEXTS or (len(batch) + 1) * lengths[index] > BATCH_PIECES):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
