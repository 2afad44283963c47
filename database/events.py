"""The journal of a workspace: what happened, in order. Servers read it to learn what other processes did."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from .connection import Reader, Transaction


@dataclass(frozen=True)
class Event:
    """One entry. `subject` is the short id it is about."""

    id: int
    campaign_id: int
    kind: str
    subject: str
    data: dict[str, Any]
    created_at: float


async def record(tx: Transaction, campaign_id: int, kind: str, subject: str, **data: Any) -> None:
    """Add an entry to the journal, in the transaction of what it tells about."""
    await tx.execute(
        "INSERT INTO events (campaign_id, kind, subject, data_json, created_at) VALUES (?, ?, ?, ?, ?)",
        (campaign_id, kind, subject, json.dumps(data), time.time()),
    )


async def latest_id(reader: Reader, *, before: float) -> int:
    """Number of the newest entry that is older than a Unix time; 0 where there is none."""
    return int(await reader.value("SELECT ifnull(max(id), 0) FROM events WHERE created_at < ?", (before,)))


async def after(reader: Reader, event_id: int, limit: int = 500) -> list[Event]:
    """Entries newer than `event_id`, oldest first."""
    rows = await reader.all("SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?", (event_id, limit))
    return [
        Event(
            row["id"], row["campaign_id"], row["kind"], row["subject"], json.loads(row["data_json"]), row["created_at"]
        )
        for row in rows
    ]
