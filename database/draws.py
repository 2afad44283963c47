"""Parents handed out, what became of each, and so who is being worked on.

A node is worked on by so many: draws of it within the campaign's time-out that have not led to a candidate yet, and
candidates that name it as a parent and have not come to their first result. A draw that leads to nothing stops counting
when the time-out is over; the visit that it was stays counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from .connection import Reader, Transaction


async def record(tx: Transaction, campaign_id: int, node_id: int, island: int | None = None) -> None:
    """Note that a node was handed out, for an island where the campaign has them."""
    await tx.execute(
        "INSERT INTO draws (campaign_id, node_id, island, drawn_at) VALUES (?, ?, ?, ?)",
        (campaign_id, node_id, island, time.time()),
    )


async def settle(tx: Transaction, campaign_id: int, parents: Sequence[int], child: int) -> None:
    """A candidate has come of these parents: for each, the oldest draw that waited for one is done."""
    await tx.many(
        "UPDATE draws SET settled_by = ?1 WHERE id = (SELECT id FROM draws"
        " WHERE campaign_id = ?2 AND node_id = ?3 AND settled_by IS NULL ORDER BY id LIMIT 1)",
        [(child, campaign_id, parent) for parent in dict.fromkeys(parents)],
    )


async def in_flight(reader: Reader, campaign_id: int, since: float) -> dict[int, int]:
    """Node to how many are working on it; draws before `since` (seconds since the epoch) no longer count."""
    rows = await reader.all(
        "SELECT node_id, count(*) AS hands FROM ("
        " SELECT node_id FROM draws WHERE campaign_id = ?1 AND settled_by IS NULL AND drawn_at > ?2"
        " UNION ALL SELECT l.parent_id FROM nodes AS n INDEXED BY nodes_under_way JOIN lineage AS l ON l.node_id = n.id"
        "  WHERE n.campaign_id = ?1 AND n.outcome IS NULL AND n.status <> 'finished') GROUP BY node_id",
        (campaign_id, since),
    )
    return {row["node_id"]: row["hands"] for row in rows}
