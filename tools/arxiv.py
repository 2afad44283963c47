"""Papers from the arXiv API: titles and abstracts of ids, fetched politely and believed as little as any text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ..database.endpoint import Endpoint, Reply
from ..evolution.errors import BadInput, EndpointError
from ..evolution.sources import arxiv_id
from ..evolution.text import excerpt, inert
from .arxiv_feed import Paper, read_feed

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
        self._api = Endpoint(
            "the arXiv API at", url, settings="ASI_EVOLVE_ARXIV", timeout_s=timeout_s, max_bytes=MAX_BYTES
        )
        self._interval_s = interval_s
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
        found = read_feed(await self._fetch(wanted), self._api.host)
        if unknown := [number for number in wanted if number not in found]:
            raise BadInput(
                f"Expected ids that arXiv knows, but it has no paper {', '.join(unknown)}. Nothing was stored. Check "
                f"the ids, or {_paste(unknown)}"
            )
        return [found[number] for number in wanted]

    async def _fetch(self, wanted: Sequence[str]) -> str:
        try:
            async with self._turn:
                reply = await self._request(wanted)
                if reply.status == 503:
                    reply = await self._request(wanted, min(reply.retry_after_s or 0.0, LONGEST_PAUSE_S))
            # Whatever encoding the document claims: what is looked at must be what is parsed.
            body = reply.body.decode("utf-8", errors="replace")
            if reply.status != 200 and not (reply.status == 400 and body.lstrip().startswith("<?xml")):  # has a feed
                raise self._api.refusal("to give a feed", _status_in_words(reply.status))
        except EndpointError as error:
            raise EndpointError(f"{error} Nothing was stored. Try again later, or {_paste(wanted)}") from None
        return body

    async def _request(self, wanted: Sequence[str], pause_s: float = 0.0) -> Reply:
        await asyncio.sleep(max(self._free_at - time.monotonic(), pause_s))
        query = {"id_list": ",".join(wanted), "max_results": str(len(wanted))}
        try:
            async with asyncio.timeout(self._api.timeout_s):
                return await self._api.ask("GET", params=query, accept="application/atom+xml")
        except TimeoutError:
            raise self._api.refusal("to give a feed", "it did not answer in time") from None
        finally:
            self._free_at = time.monotonic() + self._interval_s


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
