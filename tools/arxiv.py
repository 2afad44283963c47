"""Papers from the arXiv API: titles and abstracts of ids, fetched politely and believed as little as any text."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..evolution.errors import BadInput, EndpointError
from ..evolution.sources import arxiv_id
from ..evolution.text import excerpt, inert
from .arxiv_feed import Paper, read_feed

if TYPE_CHECKING:
    import httpx2

ARXIV_URL = "https://export.arxiv.org/api/query"
MAX_BYTES = 2_000_000
MAX_PAPERS = 20
INTERVAL_S = 3.0
"""Between two requests, as arXiv's terms of use ask for."""
TIMEOUT_S = 12.0
"""For one request, however slowly the answer drips in. Two of them and two waits stay below a client's limit."""
LONGEST_PAUSE_S = 8.0


class Arxiv:
    """The arXiv API as one process uses it: one request at a time, at most one every few seconds.

    Args:
        url: of the query endpoint.
        interval_s: between the ends of two requests.
        timeout_s: for a whole request.
    """

    def __init__(self, url: str = ARXIV_URL, *, interval_s: float = INTERVAL_S, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._free_at = 0.0

    async def papers(self, ids: Sequence[str]) -> list[Paper]:
        """Papers in the order asked for; any written form of an id will do.

        Raises:
            BadInput: an id is none, or arXiv does not know it.
            EndpointError: arXiv cannot be reached, is busy, or answers something else than a feed.
        """
        wanted = list(dict.fromkeys(_id(text) for text in ids))
        if not 1 <= len(wanted) <= MAX_PAPERS:
            raise BadInput(f"Expected 1 to {MAX_PAPERS} arXiv ids, but got {len(wanted)}.")
        found = read_feed(await self._fetch(wanted), self._host)
        if unknown := [number for number in wanted if number not in found]:
            raise BadInput(
                f"Expected ids that arXiv knows, but it has no paper {', '.join(unknown)}. Nothing was stored. Check "
                f"the ids, or {_paste(unknown)}"
            )
        return [found[number] for number in wanted]

    @property
    def _host(self) -> str:
        return urlsplit(self._url).hostname or "the configured host"

    async def _fetch(self, wanted: Sequence[str]) -> str:
        import httpx2  # only here: a server that fetches nothing starts without it

        try:
            async with self._turn, httpx2.AsyncClient(follow_redirects=False, timeout=self._timeout_s) as client:
                status, body, pause_s = await self._request(client, wanted)
                if status == 503:
                    status, body, pause_s = await self._request(client, wanted, pause_s)
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as error:
            cause = "it did not answer in time" if isinstance(error, TimeoutError) else inert(str(error))
            raise self._unavailable(cause or type(error).__name__, wanted) from error
        if status != 200 and not (status == 400 and body.lstrip().startswith("<?xml")):  # 400 comes with a feed
            raise self._unavailable(_status_in_words(status), wanted)
        return body

    async def _request(
        self, client: httpx2.AsyncClient, wanted: Sequence[str], pause_s: float = 0.0
    ) -> tuple[int, str, float]:
        """(status, body, seconds that the server asks us to wait)."""
        await asyncio.sleep(max(self._free_at - time.monotonic(), pause_s, 0.0))
        query = {"id_list": ",".join(wanted), "max_results": str(len(wanted))}
        headers = {"User-Agent": "asi-evolve-mcp", "Accept": "application/atom+xml"}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                client.stream("GET", self._url, params=query, headers=headers) as response,
            ):
                body = await self._bounded(response, wanted)
                return response.status_code, body, _retry_after(response.headers.get("Retry-After", ""))
        finally:
            self._free_at = time.monotonic() + self._interval_s

    async def _bounded(self, response: httpx2.Response, wanted: Sequence[str]) -> str:
        """The body; bytes are counted after decompression, so that a small answer cannot swell."""
        parts = bytearray()
        async for part in response.aiter_bytes(65_536):
            parts += part
            if len(parts) > MAX_BYTES:
                raise self._unavailable(f"its answer is longer than {MAX_BYTES} bytes", wanted)
        # Whatever encoding the document claims: what is looked at must be what is parsed.
        return parts.decode("utf-8", errors="replace")

    def _unavailable(self, cause: str, wanted: Sequence[str]) -> EndpointError:
        return EndpointError(
            f"Expected the arXiv API at {self._host} to give a feed, but {excerpt(cause, 200)}. Nothing was stored. "
            f"Try again later, or {_paste(wanted)}"
        )


def _id(text: str) -> str:
    found = arxiv_id(text)
    if found is None:
        raise BadInput(
            "Expected an arXiv id such as arxiv:2406.06484 or arxiv:math/0211159, but got "
            f"{excerpt(inert(text), 80)!r}. Anything else goes into items, with title, body and source."
        )
    return found


def _paste(ids: Sequence[str]) -> str:
    return (
        "paste what you know instead: items=[{'title': the paper's title, 'body': its abstract or mechanism, 'source': "
        f"'arxiv:{ids[0]}'}}]."
    )


def _status_in_words(status: int) -> str:
    if 300 <= status < 400:
        return f"it sends us elsewhere (status {status}), which is not followed; see ASI_EVOLVE_ARXIV_URL"
    return f"it is busy (status {status})" if status in (429, 503) else f"it answers with status {status}"


def _retry_after(header: str) -> float:
    """Seconds to wait; a date or nonsense counts as nothing said."""
    seconds = float(header) if header.strip().isdecimal() and len(header) < 6 else 0.0
    return min(seconds, LONGEST_PAUSE_S) if math.isfinite(seconds) else 0.0
