"""An address outside that is not trusted: asked with patience, read with a bound, and its key told to nobody else."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from ..evolution.errors import EndpointError
from ..evolution.text import inert, quoted

if TYPE_CHECKING:
    import ssl

    import httpx2

ATTEMPTS = 5
FIRST_PAUSE_S = 0.5
"""Doubled after each further attempt, and longer where the endpoint asks for it."""
SAID_BYTES = 4000
"""Of an answer that is refused, so much is looked at to quote its beginning."""

Answer = TypeVar("Answer", bound=BaseModel)


class Reply(NamedTuple):
    """What came, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_s(self) -> float | None:
        """The pause that is asked for; a date, or anything else, counts as none."""
        try:
            seconds = float(self.headers.get("retry-after", ""))
        except ValueError:
            return None
        return seconds if seconds >= 0 else None


class _MayPass(EndpointError):
    """The endpoint may do better later, perhaps at a time that it named."""

    def __init__(self, refusal: EndpointError, after_s: float = 0.0) -> None:
        super().__init__(str(refusal))
        self.after_s = after_s


@dataclass(frozen=True)
class Endpoint:
    """One address. A redirect is not followed, since the key is for this address alone."""

    name: str
    """With its article, as errors call it before they name the host."""
    url: str = field(repr=False)
    settings: str
    """How the variables begin that a person sets it up with, such as ASI_EVOLVE_JUDGE: _URL, _MODEL and so on."""
    timeout_s: float
    """For an answer to `post`, all attempts together."""
    max_bytes: int
    api_key: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """Host and port."""
        return host_of(self.url)

    async def post(self, request: Mapping[str, object], form: type[Answer]) -> Answer:
        """The answer to a request in JSON, asked again where the endpoint is busy or out of reach for the moment.

        Raises:
            EndpointError: it cannot be reached, refuses, takes too long, or answers in another form.
        """
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                reply = await self._persist(request, limit.when() or math.inf)
        except TimeoutError:
            late = f"it did not. Raise {self.settings}_TIMEOUT_S"
            raise self.refusal(f"to answer within {self.timeout_s:g} s", late) from None
        return await asyncio.to_thread(self._read, reply, form)

    async def ask(
        self,
        method: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, object] | None = None,
        accept: str = "application/json",
    ) -> Reply:
        """One request and its bounded answer, of whatever status. How long it may take is for the caller to bound.

        Raises:
            EndpointError: it cannot be reached, or sends too much.
        """
        import httpx2  # only here: a server that asks nobody starts without it

        headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "asi-evolve-mcp"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        try:
            async with (
                httpx2.AsyncClient(headers=headers, timeout=None, verify=self._trust, follow_redirects=False) as client,
                client.stream(method, self.url, params=params, json=json) as response,
            ):
                return Reply(response.status_code, response.headers, await self._bounded(response))
        # `from None`: what a chain of errors holds is for a log, and this one has seen the headers
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
            raise self.refusal("to be asked", f"{self._quoted(str(error))}. Check {self.settings}_URL") from None
        except (httpx2.HTTPError, OSError) as error:
            why = f"{type(error).__name__}: {self._quoted(str(error))}".rstrip(": ")
            raise _MayPass(
                self.refusal("to answer", f"it cannot be reached ({why}). Check {self.settings}_URL")
            ) from None

    def refusal(self, expected: str, got: str) -> EndpointError:
        """An error in our words."""
        return EndpointError(f"Expected {self.name} {self.host} {expected}, but {got.rstrip('.')}.")

    def redacted(self, text: str) -> str:
        """An endpoint may repeat the key that it was given."""
        return text.replace(self.api_key, "[key]") if self.api_key else text

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Kept, since reading a machine's certificates takes some 30 ms."""
        import httpx2

        return httpx2.create_ssl_context()

    async def _persist(self, request: Mapping[str, object], give_up: float) -> Reply:
        """Ask until there is an answer, with growing pauses (and jitter: others were told to wait as well)."""
        attempt = 1
        while True:
            try:
                reply = await self.ask("POST", json=request)
                self._check_status(reply)
                return reply
            except _MayPass as trouble:
                pause = max(FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.0), trouble.after_s)  # noqa: S311
                if attempt == ATTEMPTS or asyncio.get_running_loop().time() + pause >= give_up:
                    raise EndpointError(f"{trouble} That was attempt {attempt} of {ATTEMPTS}.") from None
            await asyncio.sleep(pause)
            attempt += 1

    async def _bounded(self, response: httpx2.Response) -> bytes:
        """The body as it came over the line: a compressed one could be of any size."""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self.refusal("to answer uncompressed, as asked", "it did not")
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > self.max_bytes:
                raise self.refusal(
                    f"to answer in at most {self.max_bytes / 1e6:g} MB", "it sends more, which is not read"
                )
        return bytes(body)

    def _check_status(self, reply: Reply) -> None:
        status = reply.status
        if status == 429 or status >= 500:
            after_s = reply.retry_after_s or 0.0
            later = f" and asks to wait {after_s:g} s" if after_s else ""
            raise _MayPass(self.refusal("to answer", f"it is busy or out of order (status {status}){later}"), after_s)
        if 300 <= status < 400:
            where = self._quoted(reply.headers.get("location", "elsewhere"))
            raise self.refusal(
                "to answer itself",
                f"it redirects to {where} (status {status}), which is not followed since the key is for this address "
                f"alone. Set {self.settings}_URL to the final address",
            )
        if status != 200:
            told = f"status {status} came, which says: {self._beginning(reply)}"
            checked = "_API_KEY" if status in (401, 403) else f"_URL and {self.settings}_MODEL"
            raise self.refusal("to answer with status 200", f"{told}. Check {self.settings}{checked}")

    def _read(self, reply: Reply, form: type[Answer]) -> Answer:
        try:
            return form.model_validate_json(reply.body)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in problem["loc"][:4])
            kind = self._quoted(reply.headers.get("content-type", "")) or "no content type"
            raise self.refusal(
                "to answer as OpenAI's API does",
                f"got something else ({kind}; {place + ': ' if place else ''}{problem['msg']}), which begins "
                f"{self._beginning(reply)}. Check {self.settings}_URL: it is an address such as "
                "https://api.openai.com/v1",
            ) from None

    def _beginning(self, reply: Reply) -> str:
        return repr(self._quoted(reply.body[:SAID_BYTES].decode(errors="replace")))

    def _quoted(self, said: str) -> str:
        return quoted(self.redacted(inert(said)))


def host_of(url: str) -> str:
    """Host and port of an address, without the user and the password that it may hold."""
    return urlsplit(url).netloc.rpartition("@")[2]


def below(url: str, path: str) -> str:
    """The address of a path of an API; one that ends so already is taken as it is."""
    parts = urlsplit(url)
    start = parts.path.rstrip("/")
    return parts._replace(path=start if start.endswith(path) else start + path).geturl()
