"""What inspired the nodes of a campaign, and what became of the knowledge that it was shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..evolution.provenance import ItemUse, Origins, best_count
from ..evolution.statistics import Mean, mean
from .connection import Reader, Row, Transaction


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


# Walked from the campaign's nodes to what inspired them (CROSS JOIN keeps SQLite to that order): both lie in order.
_USES = """
    WITH uses AS MATERIALIZED (
        SELECT i.ref_id AS item, n.score - p.score AS gain,
               n.outcome IS NOT NULL AND n.outcome NOT IN ('scored', 'cancelled', 'lost', 'infrastructure_error')
                   AS failed
        FROM nodes AS n CROSS JOIN inspirations AS i ON i.node_id = n.id AND i.kind = 'k'
        LEFT JOIN lineage AS l ON l.node_id = n.id AND l.position = 0
        LEFT JOIN nodes AS p ON p.id = l.parent_id AND p.score_stage = n.score_stage
        WHERE n.campaign_id = ?1),
    sums AS MATERIALIZED (
        SELECT item, count(*) AS used, sum(failed) AS failed, count(gain) AS compared, avg(gain) AS mean
        FROM uses GROUP BY item),
    spread AS (
        SELECT uses.item, sum((gain - mean) * (gain - mean)) AS squares
        FROM uses JOIN sums USING (item) WHERE gain IS NOT NULL GROUP BY uses.item)
    SELECT c.id, c.title, c.origin, ifnull(r.times, 0) AS retrieved, ifnull(s.used, 0) AS used,
           ifnull(s.failed, 0) AS failed, ifnull(s.compared, 0) AS compared, s.mean, d.squares
    FROM (SELECT item FROM sums UNION SELECT cognition_id FROM retrievals WHERE campaign_id = ?1) AS known
    JOIN cognition AS c ON c.id = known.item
    LEFT JOIN retrievals AS r ON r.campaign_id = ?1 AND r.cognition_id = c.id
    LEFT JOIN sums AS s ON s.item = c.id LEFT JOIN spread AS d ON d.item = c.id
    ORDER BY c.id
"""


async def item_uses(reader: Reader, campaign_id: int) -> list[ItemUse]:
    """Every item that an answer of the campaign showed or that one of its candidates names, oldest first."""
    rows = await reader.all(_USES, (campaign_id,))
    return [
        ItemUse(
            id=row["id"],
            title=row["title"],
            origin=row["origin"],
            retrieved=row["retrieved"],
            used=row["used"],
            failed=row["failed"],
            gain=await _gain(reader, campaign_id, row),
        )
        for row in rows
    ]


async def _gain(reader: Reader, campaign_id: int, row: Row) -> Mean | None:
    count = row["compared"]
    if not count:
        return None
    if not math.isfinite(row["mean"]) or not math.isfinite(row["squares"]):
        return await _gain_of_giants(reader, campaign_id, row["id"])
    return Mean(row["mean"], math.sqrt(row["squares"] / (count * (count - 1))) if count > 1 else None, count)


async def _gain_of_giants(reader: Reader, campaign_id: int, item: int) -> Mean | None:
    """Scores such as 1e308 overflow the sums in SQL, and their squares much sooner; these are added with care."""
    rows = await reader.all(
        "SELECT n.score - p.score AS gain FROM inspirations AS i JOIN nodes AS n ON n.id = i.node_id"
        " JOIN lineage AS l ON l.node_id = n.id AND l.position = 0"
        " JOIN nodes AS p ON p.id = l.parent_id AND p.score_stage = n.score_stage"
        " WHERE i.kind = 'k' AND i.ref_id = ? AND n.campaign_id = ? AND n.score IS NOT NULL AND p.score IS NOT NULL",
        (item, campaign_id),
    )
    gains = [row["gain"] for row in rows if math.isfinite(row["gain"])]
    if not gains:
        return None
    found = mean(gains)
    stderr = found.stderr if found.stderr is not None and math.isfinite(found.stderr) else None
    return Mean(found.value, stderr, found.seeds) if math.isfinite(found.value) else None
