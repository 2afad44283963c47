"""The embedder `openai`: any endpoint that answers POST .../embeddings as OpenAI's does; it is not trusted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ....evolution.errors import EmbedderUnavailable, EndpointError
from ....evolution.text import inert
from ...endpoint import Endpoint, below

BATCH_TEXTS = 64
MAX_ANSWER_BYTES = 64_000_000
"""More than 64 vectors of 32,768 numbers take."""
MAX_DIMENSION = 32_768


class _Item(BaseModel):
    model_config = ConfigDict(strict=True)
    index: Annotated[int, Field(ge=0)]
    embedding: list[FiniteFloat]


class _Answer(BaseModel):
    """https://platform.openai.com/docs/api-reference/embeddings: what of it is used."""

    data: list[_Item]


class OpenAIEmbedder:
    """Vectors from an endpoint, scaled to length one.

    Args:
        url: such as `https://api.openai.com/v1`; `/embeddings` is added where it does not end so.
        dimension: asked of the endpoint (`dimensions`, which not every model knows) and held to; `None` takes what
            comes first and holds to that.
        timeout_s: for a batch, all attempts together.
        max_characters: a longer text is cut, since endpoints refuse what exceeds the model's context.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        dimension: int | None = None,
        timeout_s: float = 30.0,
        max_characters: int = 8000,
    ) -> None:
        self._endpoint = Endpoint(
            "the embeddings endpoint",
            below(url, "/embeddings"),
            settings="ASI_EVOLVE_EMBEDDER",
            timeout_s=timeout_s,
            max_bytes=MAX_ANSWER_BYTES,
            api_key=api_key,
        )
        self._model = model
        self._wanted = dimension
        self._dimension = dimension
        self._max_characters = max_characters
        self._asked = False

    @property
    def fingerprint(self) -> str:
        """Model, host and dimension, and never the key."""
        return f"openai/{self._model}@{self._endpoint.host}/{self.dimension}"

    @property
    def dimension(self) -> int:
        """Length of every vector.

        Raises:
            EmbedderUnavailable: nobody has asked the endpoint yet (`prepare`).
        """
        if self._dimension is None:
            raise EmbedderUnavailable(
                f"Expected {self._endpoint.host} to have been asked for a vector before. Do: prepare()."
            )
        return self._dimension

    @property
    def source(self) -> str:
        """Where the vectors come from, for people. A query may hold a key, and is left out."""
        return urlsplit(self._endpoint.url)._replace(netloc=self._endpoint.host, query="", fragment="").geturl()

    async def prepare(self) -> None:
        """Ask the endpoint for one vector, once.

        Raises:
            EmbedderUnavailable: it does not answer as it should.
        """
        if not self._asked:
            await self._encode(["dimension"])

    async def encode_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text."""
        return await self._encode(texts)

    async def encode_queries(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each query: the interface of the endpoint makes no difference."""
        return await self._encode(texts)

    async def _encode(self, texts: Sequence[str]) -> list[list[float]]:
        given = [inert(text)[: self._max_characters] or " " for text in texts]  # OpenAI's own refuses an empty one
        vectors: list[list[float]] = []
        try:
            for start in range(0, len(given), BATCH_TEXTS):
                vectors += await self._batch(given[start : start + BATCH_TEXTS])
        except EndpointError as error:
            raise EmbedderUnavailable(str(error)) from None
        return vectors

    async def _batch(self, texts: list[str]) -> list[list[float]]:
        request: dict[str, object] = {"model": self._model, "input": texts}
        if self._wanted is not None:
            request["dimensions"] = self._wanted
        answer = await self._endpoint.post(request, _Answer)
        vectors = await asyncio.to_thread(self._vectors, answer, len(texts))
        self._asked = True
        return vectors

    def _vectors(self, answer: _Answer, count: int) -> list[list[float]]:
        """The vectors in the order of the texts; each is refused where it is not a finite one of the right length."""
        items = sorted(answer.data, key=lambda item: item.index)
        if [item.index for item in items] != list(range(count)):
            numbering = f"to number its {count} embeddings from 0"
            raise self._endpoint.refusal(numbering, f"{len(items)} came, not so numbered")
        return [self._unit(item.embedding) for item in items]

    def _unit(self, vector: list[float]) -> list[float]:
        expected = self._dimension
        if expected is None and 1 <= len(vector) <= MAX_DIMENSION:
            expected = self._dimension = len(vector)
        if len(vector) != expected:
            numbers = f"{expected or f'1 to {MAX_DIMENSION}'} numbers"
            raise self._endpoint.refusal(
                f"to give vectors of {numbers}",
                f"one of {len(vector)} came. Check ASI_EVOLVE_EMBEDDER_MODEL and ASI_EVOLVE_EMBEDDER_DIMENSION",
            )
        norm = math.hypot(*vector)
        if not math.isfinite(norm) or norm < 1e-30:
            raise self._endpoint.refusal("to give vectors that point somewhere", f"one of norm {norm:g} came")
        return [value / norm for value in vector]
