"""The embedder `openai`: any endpoint that answers POST .../embeddings as OpenAI's does; it is not trusted."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ...evolution.errors import EmbedderUnavailable
from ...evolution.text import excerpt, inert

if TYPE_CHECKING:
    import ssl

    import httpx2

BATCH_TEXTS = 64
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""More than 64 vectors of 32,768 numbers take."""
MAX_DIMENSION = 32_768
ATTEMPTS = 5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
SAID_CHARACTERS = 200
"""So much of what an endpoint says against a request goes into the error."""


class _Item(BaseModel):
    model_config = ConfigDict(strict=True)
    index: Annotated[int, Field(ge=0)]
    embedding: list[FiniteFloat]


class _Answer(BaseModel):
    """https://platform.openai.com/docs/api-reference/embeddings: what of it is used."""

    data: list[_Item]


class _Again(Exception):
    """The endpoint may do better later, perhaps at a time that it named."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


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
        self._url = _endpoint(url)
        self._host = urlsplit(self._url).netloc.rpartition("@")[2]
        self._model = model
        self._api_key = api_key
        self._wanted = dimension
        self._dimension = dimension
        self._timeout_s = timeout_s
        self._max_characters = max_characters
        self._asked = False
        self._trust: ssl.SSLContext | None = None

    @property
    def fingerprint(self) -> str:
        """Model, host and dimension, and never the key."""
        return f"openai/{self._model}@{self._host}/{self.dimension}"

    @property
    def dimension(self) -> int:
        """Length of every vector.

        Raises:
            EmbedderUnavailable: nobody has asked the endpoint yet (`prepare`).
        """
        if self._dimension is None:
            raise EmbedderUnavailable(f"Expected {self._host} to have been asked for a vector before. Do: prepare().")
        return self._dimension

    @property
    def source(self) -> str:
        """Where the vectors come from, for people. A query may hold a key, and is left out."""
        parts = urlsplit(self._url)
        return urlunsplit((parts.scheme, self._host, parts.path, "", ""))

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
        import httpx2

        given = [inert(text)[: self._max_characters] or " " for text in texts]  # OpenAI's own refuses an empty one
        vectors: list[list[float]] = []
        if self._trust is None:
            self._trust = httpx2.create_ssl_context()  # reading a machine's certificates takes some 30 ms
        async with httpx2.AsyncClient(
            headers=self._headers(), timeout=self._timeout_s, verify=self._trust, follow_redirects=False
        ) as client:
            for start in range(0, len(given), BATCH_TEXTS):
                vectors += await self._batch(client, given[start : start + BATCH_TEXTS])
        return vectors

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}

    async def _batch(self, client: httpx2.AsyncClient, texts: list[str]) -> list[list[float]]:
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._persist(client, texts)
        except TimeoutError as error:
            raise self._unavailable(f"to answer within {self._timeout_s:g} s", "it did not") from error
        vectors = await asyncio.to_thread(self._vectors, body, len(texts))
        self._asked = True
        return vectors

    async def _persist(self, client: httpx2.AsyncClient, texts: list[str]) -> bytes:
        """Ask until there is an answer, with growing pauses (and jitter: others were told to wait as well)."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._timeout_s
        for attempt in range(ATTEMPTS):
            try:
                return await self._ask(client, texts)
            except _Again as again:
                pause = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)  # noqa: S311
                pause = max(pause, again.after_s or 0.0)
                if attempt == ATTEMPTS - 1 or loop.time() + pause >= give_up:
                    later = f" and asks to wait {again.after_s:g} s" if again.after_s else ""
                    raise self._unavailable("to answer", f"{again}{later}, at attempt {attempt + 1}") from None
                await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _ask(self, client: httpx2.AsyncClient, texts: list[str]) -> bytes:
        import httpx2

        request: dict[str, object] = {"model": self._model, "input": texts}
        if self._wanted is not None:
            request["dimensions"] = self._wanted
        try:
            async with client.stream("POST", self._url, json=request) as response:
                body = await self._bounded(response)
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
            raise self._unavailable("to be asked", self._quoted(str(error))) from None
        except httpx2.DecodingError as error:
            raise self._unavailable("to send what it says it sends", self._quoted(str(error))) from None
        except httpx2.TransportError as error:
            # `from None`: what a chain of errors holds is for a log, and this one has seen the headers
            raise _Again(f"it cannot be reached: {self._quoted(str(error) or type(error).__name__)}") from None
        self._check_status(response, body)
        return body

    async def _bounded(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise self._unavailable(
                    f"to answer in at most {MAX_ANSWER_BYTES // 2**20} MB", "it sends more; what came was thrown away"
                )
        return bytes(body)

    def _check_status(self, response: httpx2.Response, body: bytes) -> None:
        status = response.status_code
        if status == 200:
            return
        if status == 429 or status >= 500:
            raise _Again(f"it answers with status {status}", _seconds(response.headers.get("retry-after")))
        if status in (401, 403):
            raise self._unavailable("to accept the key", f"status {status}. Check ASI_EVOLVE_EMBEDDER_API_KEY")
        if 300 <= status < 400:
            where = self._quoted(response.headers.get("location", "nowhere"))
            raise self._unavailable(
                "to answer itself", f"it redirects to {where}, where no key is sent. Check ASI_EVOLVE_EMBEDDER_URL"
            )
        said = self._quoted(body[: 16 * SAID_CHARACTERS].decode(errors="replace"))
        raise self._unavailable("to answer with status 200", f"status {status} came, which says: {said!r}")

    def _vectors(self, body: bytes, count: int) -> list[list[float]]:
        """The vectors in the order of the texts; each is refused where it is not a finite one of the right length."""
        try:
            items = sorted(_Answer.model_validate_json(body).data, key=lambda item: item.index)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in problem["loc"][:4])
            begins = self._quoted(body[:400].decode(errors="replace"))
            raise self._unavailable(
                "to answer with embeddings in JSON",
                f"{place + ': ' if place else ''}{problem['msg']}; begins {begins!r}",
            ) from None
        if [item.index for item in items] != list(range(count)):
            raise self._unavailable(f"to number its {count} embeddings from 0", f"{len(items)} came, not so numbered")
        return [self._unit(item.embedding) for item in items]

    def _unit(self, vector: list[float]) -> list[float]:
        expected = self._dimension
        if expected is None and 1 <= len(vector) <= MAX_DIMENSION:
            expected = self._dimension = len(vector)
        if len(vector) != expected:
            numbers = f"{expected or f'1 to {MAX_DIMENSION}'} numbers"
            raise self._unavailable(
                f"to give vectors of {numbers}",
                f"one of {len(vector)} came. Check ASI_EVOLVE_EMBEDDER_MODEL and ASI_EVOLVE_EMBEDDER_DIMENSION",
            )
        norm = math.hypot(*vector)
        if not math.isfinite(norm) or norm < 1e-30:
            raise self._unavailable("to give vectors that point somewhere", f"one of norm {norm:g} came")
        return [value / norm for value in vector]

    def _unavailable(self, expected: str, got: str) -> EmbedderUnavailable:
        return EmbedderUnavailable(f"Expected the embeddings endpoint {self._host} {expected}, but {got.rstrip('.')}.")

    def _quoted(self, said: str) -> str:
        """Somebody else's words, harmless, short, and without the key where they repeat it."""
        words = " ".join(inert(said).split())
        if self._api_key:
            words = words.replace(self._api_key, "***")
        return excerpt(words, SAID_CHARACTERS)


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith("/embeddings") else f"{path}/embeddings"))


def _seconds(retry_after: str | None) -> float | None:
    """Of a `Retry-After` header in seconds; the form with a date is left to the backoff."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdecimal():
        return None
    return float(retry_after[:9])
