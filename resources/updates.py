"""Tells subscribed clients what changed, also when another process changed it: reads the journal and publishes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent
from mcp.shared.subscriptions import ResourceUpdated

from ..database import events
from ..database.events import Event
from ..evolution.errors import StorageError
from ..evolution.ids import short_id
from ..tools.laboratory import Laboratory

logger = logging.getLogger(__name__)

POLL_S = 0.5
SLACK_S = 1.0
"""An entry gets its time before its transaction ends. One announcement too many costs a read; one too few, news."""


class UpdatesBus(InMemorySubscriptionBus):
    """Knows since when somebody listens: before that, nobody needs the journal to be read."""

    def __init__(self) -> None:
        super().__init__()
        self._listened_since = 0.0
        self._listened = asyncio.Event()

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Called by the SDK for each stream that a client opens."""
        if not self._listened.is_set():
            self._listened_since = time.time()
            self._listened.set()
        return super().subscribe(listener)

    async def first_listener(self) -> float:
        """Waits for one; Unix time of when it came."""
        await self._listened.wait()
        return self._listened_since


async def publish_updates(laboratory: Laboratory, bus: UpdatesBus) -> None:
    """Runs until it is cancelled."""
    since = await bus.first_listener() - SLACK_S
    seen: int | None = None
    while True:
        try:
            reader = (await laboratory.workspace()).read
            if seen is None:
                seen = await events.latest_id(reader, before=since)
            for event in await events.after(reader, seen):
                seen = event.id
                for address in addresses(event):
                    await bus.publish(ResourceUpdated(uri=address))
        except StorageError:
            logger.exception("The journal cannot be read; trying again")
        await asyncio.sleep(POLL_S)


def addresses(event: Event) -> list[str]:
    """The resources that an event changes."""
    changed = [f"evolve://campaigns/{short_id('c', event.campaign_id)}"]
    if event.kind.startswith(("campaign", "experiment", "judgement")):
        changed.append("evolve://campaigns")
    if event.kind in ("node_added", "experiment_finished", "experiment_quarantined", "parent_sampled"):
        changed.append(f"{changed[0]}/provenance")
    if event.subject.startswith("n"):
        changed.append(f"evolve://nodes/{event.subject}")
    if event.subject.startswith("e"):
        changed += [f"evolve://experiments/{event.subject}/{part}" for part in ("log", "progress")]
    if isinstance(node := event.data.get("node"), str):
        changed.append(f"evolve://nodes/{node}")
    return changed
