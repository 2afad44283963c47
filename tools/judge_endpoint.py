"""The model that judges, behind an OpenAI-compatible endpoint: one question, one bounded answer, or a clear refusal."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ..evolution.errors import EndpointError
from ..evolution.judge_prompt import Marked, read_answer
from ..evolution.text import excerpt, inert

if TYPE_CHECKING:
    import httpx2

ANSWER_BYTES = 1_000_000
ATTEMPTS = 4
FIRST_PAUSE_S = 0.5
"""Doubled after each further attempt, where the endpoint names no time itself."""


class _TryAgain(Exception):
    """The endpoint is busy or broken for the moment."""

    def __init__(self, told: str, after_s: float | None) -> None:
        super().__init__(told)
        self.after_s = after_s


@dataclass(frozen=True)
class JudgeEndpoint:
    """Where candidates are judged on request. The key never leaves it but in the header of a request to `url`."""

    url: str
    """Such as https://api.openai.com/v1; `/chat/completions` is added."""
    model: str
    api_key: SecretStr | None
    timeout_s: float
    """Of one judgement, all attempts together."""

    async def ask(self, messages: Sequence[Mapping[str, str]]) -> Marked:
        """The marks and the comment that the model answers with.

        Raises:
            EndpointError: it cannot be reached, refuses, takes too long, or answers something else.
        """
        import httpx2

        try:
            async with asyncio.timeout(self.timeout_s), self._client() as client:
                content = await self._persistently(client, messages)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise EndpointError(
                f"Expected the judge's endpoint to answer within {self.timeout_s:g} s, but it did not. Nothing was "
                "stored. Try again later, raise ASI_EVOLVE_JUDGE_TIMEOUT_S, or judge yourself with by='agent'."
            ) from error
        try:
            marked = read_answer(content)
        except EndpointError as error:
            raise EndpointError(self._redacted(str(error))) from None
        marks = {self._redacted(name): mark for name, mark in marked.marks.items()}
        return Marked(marks, self._redacted(marked.comment))

    def _client(self) -> httpx2.AsyncClient:
        """A redirect is not followed: the key is for this address alone."""
        import httpx2

        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key.get_secret_value()}"
        return httpx2.AsyncClient(headers=headers, timeout=self.timeout_s, follow_redirects=False)

    async def _persistently(self, client: httpx2.AsyncClient, messages: Sequence[Mapping[str, str]]) -> str:
        """Ask again where the endpoint is busy or broken for the moment."""
        give_up = asyncio.get_running_loop().time() + self.timeout_s
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(client, messages)
            except _TryAgain as busy:
                pause = busy.after_s if busy.after_s is not None else FIRST_PAUSE_S * 2 ** (attempt - 1)
                if attempt == ATTEMPTS or asyncio.get_running_loop().time() + pause >= give_up:
                    tries = f"{attempt} attempt{'s' if attempt > 1 else ''}"
                    wait = f" and asks to wait {pause:g} s" if busy.after_s else ""
                    raise EndpointError(
                        f"Expected the judge's endpoint to answer, but after {tries} it {busy}{wait}. Nothing was "
                        "stored. Try again later, or judge yourself with by='agent'."
                    ) from None
                await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, client: httpx2.AsyncClient, messages: Sequence[Mapping[str, str]]) -> str:
        import httpx2

        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "response_format": {"type": "json_object"},
        }
        try:
            async with client.stream("POST", f"{self.url.rstrip('/')}/chat/completions", json=body) as response:
                answer = await _bounded(response)
        except httpx2.TimeoutException:
            raise
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            told = excerpt(inert(self._redacted(str(error))), 200)
            raise _TryAgain(f"cannot be reached ({type(error).__name__}: {told})", None) from None
        self._refuse_unless_ok(response, answer)
        return _content(answer, response.headers.get("content-type", ""))

    def _refuse_unless_ok(self, response: httpx2.Response, answer: bytes) -> None:
        status = response.status_code
        if status == 429 or status >= 500:
            raise _TryAgain(f"answers with status {status}", _seconds(response.headers.get("retry-after")))
        if 300 <= status < 400:
            raise EndpointError(
                f"Expected the judge's endpoint to answer, but it redirects elsewhere (status {status}), which is not "
                "followed since the key is for this address alone. Set ASI_EVOLVE_JUDGE_URL to the final address."
            )
        if status != 200:
            told = excerpt(inert(self._redacted(answer.decode(errors="replace"))), 200)
            raise EndpointError(
                f"Expected the judge's endpoint to answer with status 200, but got {status}: {told!r}. Check "
                "ASI_EVOLVE_JUDGE_URL, _MODEL and _API_KEY. Nothing was stored."
            )

    def _redacted(self, text: str) -> str:
        """An endpoint may repeat the key that it was given."""
        key = self.api_key.get_secret_value() if self.api_key is not None else ""
        return text.replace(key, "[key]") if key else text


async def _bounded(response: httpx2.Response) -> bytes:
    """The body as it came over the line: a compressed one could be of any size."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise EndpointError("Expected the judge's endpoint to answer uncompressed, as asked, but it did not.")
    parts = bytearray()
    async for part in response.aiter_raw():
        parts += part
        if len(parts) > ANSWER_BYTES:
            raise EndpointError(
                f"Expected the judge's endpoint to answer with at most {ANSWER_BYTES} bytes, but got more. Nothing was "
                "stored."
            )
    return bytes(parts)


def _content(answer: bytes, content_type: str) -> str:
    """What the model says, out of the envelope of chat completions."""
    try:
        envelope: Any = json.loads(answer)
        content: Any = envelope["choices"][0]["message"]["content"]
    except (ValueError, RecursionError, LookupError, TypeError):
        content = None
    if not isinstance(content, str):
        kind = excerpt(inert(content_type), 60) or "nothing that says what it is"
        raise EndpointError(
            "Expected the judge's endpoint to answer as OpenAI's chat completions do, but got something else "
            f"({kind}). Is ASI_EVOLVE_JUDGE_URL the address before /chat/completions, such as "
            "https://api.openai.com/v1? Nothing was stored."
        )
    return content


def _seconds(retry_after: str | None) -> float | None:
    """A pause that the endpoint asks for; a date, or anything else, counts as none."""
    try:
        seconds = float(retry_after) if retry_after is not None else math.nan
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
