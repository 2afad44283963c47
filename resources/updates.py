"""Tells subscribed clients what changed, also when another process changed it: reads the journal and publishes."""

from __future__ import annotations

import asyncio
import logging

from mcp.server.subscriptions import SubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated

from ..database import events
from ..database.events import Event
from ..evolution.errors import StorageError
from ..evolution.ids import short_id
from ..tools.laboratory import Laboratory

logger = logging.getLogger(__name__)

POLL_S = 0.5


async def publish_updates(laboratory: Laboratory, bus: SubscriptionBus) -> None:
    """Runs until it is cancelled. Does nothing before a tool or a resource has opened the workspace."""
    seen: int | None = None
    while True:
        await asyncio.sleep(POLL_S)
        if not laboratory.is_open:
            continue
        try:
            reader = (await laboratory.workspace()).read
            if seen is None:
                seen = await events.latest_id(reader)
            for event in await events.after(reader, seen):
                seen = event.id
                for address in addresses(event):
                    await bus.publish(ResourceUpdated(uri=address))
        except StorageError:
            logger.exception("The journal cannot be read; trying again")


def addresses(event: Event) -> list[str]:
    """The resources that an event changes."""
    changed = [f"evolve://campaigns/{short_id('c', event.campaign_id)}"]
    if event.kind.startswith(("campaign", "experiment")):
        changed.append("evolve://campaigns")
    if event.subject.startswith("n"):
        changed.append(f"evolve://nodes/{event.subject}")
    if event.subject.startswith("e"):
        changed.append(f"evolve://experiments/{event.subject}/log")
    if isinstance(node := event.data.get("node"), str):
        changed.append(f"evolve://nodes/{node}")
    return changed
