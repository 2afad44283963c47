"""What inspired the nodes of a campaign, and what became of the knowledge that it was shown."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence

from ..evolution.provenance import ItemUse, Origins, best_count
from ..evolution.statistics import Mean, mean
from .connection import Reader, Transaction


async def count_retrievals(tx: Transaction, campaign_id: int, cognition_ids: Sequence[int]) -> None:
    """Note that one answer of a campaign showed some items."""
    await tx.many(
        "INSERT INTO retrievals (campaign_id, cognition_id, times) VALUES (?, ?, 1)"
        " ON CONFLICT DO UPDATE SET times = times + 1",
        [(campaign_id, number) for number in dict.fromkeys(cognition_ids)],
    )


# An item that was a lesson is experience of the search, though it lies beside the papers now. A parent that is named
# once more says nothing new.
_ORIGINS = """
    SELECT EXISTS (SELECT 1 FROM inspirations AS i JOIN cognition AS c ON c.id = i.ref_id
                   WHERE i.node_id = n.id AND i.kind = 'k' AND c.origin <> 'lesson') AS knows,
           EXISTS (SELECT 1 FROM inspirations AS i WHERE i.node_id = n.id AND (i.kind = 'l'
                   OR i.kind = 'n' AND NOT EXISTS
                      (SELECT 1 FROM lineage WHERE node_id = n.id AND parent_id = i.ref_id)
                   OR i.kind = 'k' AND EXISTS
                      (SELECT 1 FROM cognition WHERE id = i.ref_id AND origin = 'lesson'))) AS learned
    FROM nodes AS n WHERE n.campaign_id = ?1 AND NOT n.is_baseline
"""


async def origins(reader: Reader, campaign_id: int) -> Origins:
    """Of every candidate, whatever its outcome."""
    return await _counted(reader, _ORIGINS, (campaign_id,))


async def origins_of_best(reader: Reader, campaign_id: int) -> Origins:
    """Of the best candidates (`evolution.provenance.best_count`), the older first among equal scores."""
    scored = await reader.value(
        "SELECT count(*) - (SELECT is_baseline AND score IS NOT NULL FROM nodes WHERE campaign_id = ?1"
        " ORDER BY id LIMIT 1) FROM nodes WHERE campaign_id = ?1 AND score IS NOT NULL",
        (campaign_id,),
    )
    best = f"{_ORIGINS} AND n.score IS NOT NULL ORDER BY n.score DESC, n.id LIMIT ?2"
    return await _counted(reader, best, (campaign_id, best_count(scored or 0)))


async def _counted(reader: Reader, select: str, parameters: Sequence[int]) -> Origins:
    rows = await reader.all(
        f"SELECT knows, learned, count(*) AS nodes FROM ({select}) GROUP BY knows, learned", parameters
    )
    counts = {(bool(row["knows"]), bool(row["learned"])): int(row["nodes"]) for row in rows}
    return Origins(
        cognition=counts.get((True, False), 0),
        experience=counts.get((False, True), 0),
        both=counts.get((True, True), 0),
        neither=counts.get((False, False), 0),
    )


# Walked from the campaign's nodes to what inspired them (CROSS JOIN keeps SQLite to that order): both lie in order. To
# add up in SQL would sort every link by its item first, which costs more than to fetch them.
_USES = """
    SELECT i.ref_id AS item, n.score - p.score AS gain,
           n.outcome IS NOT NULL AND n.outcome NOT IN ('scored', 'cancelled', 'lost', 'infrastructure_error') AS failed
    FROM nodes AS n CROSS JOIN inspirations AS i ON i.node_id = n.id AND i.kind = 'k'
    LEFT JOIN lineage AS l ON l.node_id = n.id AND l.position = 0
    LEFT JOIN nodes AS p ON p.id = l.parent_id AND p.score_stage = n.score_stage
    WHERE n.campaign_id = ?
"""


async def item_uses(reader: Reader, campaign_id: int) -> list[ItemUse]:
    """Every item that an answer of the campaign showed or that one of its candidates names, oldest first."""
    gains: dict[int, list[float]] = {}
    used: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for item, gain, has_failed in await reader.all(_USES, (campaign_id,)):
        used[item] += 1
        failed[item] += has_failed
        if gain is not None and math.isfinite(gain):
            gains.setdefault(item, []).append(gain)
    retrieved = {
        row["cognition_id"]: row["times"]
        for row in await reader.all("SELECT cognition_id, times FROM retrievals WHERE campaign_id = ?", (campaign_id,))
    }
    known = json.dumps(sorted(used.keys() | retrieved.keys()))
    rows = await reader.all(
        "SELECT id, title, origin FROM cognition WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id", (known,)
    )
    return [
        ItemUse(
            id=row["id"],
            title=row["title"],
            origin=row["origin"],
            retrieved=retrieved.get(row["id"], 0),
            used=used[row["id"]],
            failed=failed[row["id"]],
            gain=_gain(gains.get(row["id"], [])),
        )
        for row in rows
    ]


def _gain(gains: Sequence[float]) -> Mean | None:
    if not gains:
        return None
    found = mean(gains)
    return found if found.stderr is None or math.isfinite(found.stderr) else found._replace(stderr=None)
