"""What the Analyzer wrote: reports on nodes, and the lessons distilled from them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..evolution.ids import short_id
from ..evolution.models import Lesson
from . import events
from .connection import Reader, Row, Transaction
from .search import documents


@dataclass(frozen=True)
class Analysis:
    """A report on one node."""

    id: int
    node_id: int
    report: str
    tags: tuple[str, ...]
    created_at: float


async def add(
    tx: Transaction, *, campaign_id: int, node_id: int, report: str, lessons: Sequence[str], tags: Sequence[str]
) -> tuple[int, list[int]]:
    """Store a report with its lessons and return their numbers."""
    now, tags_json = time.time(), json.dumps(list(tags))
    analysis_id = await tx.insert(
        "INSERT INTO analyses (campaign_id, node_id, report, tags_json, created_at) VALUES (?, ?, ?, ?, ?)",
        (campaign_id, node_id, report, tags_json, now),
    )
    await documents.put(tx, "analysis", analysis_id, report, campaign_id=campaign_id)
    lesson_ids: list[int] = []
    for text in lessons:
        number = await tx.insert(
            "INSERT INTO lessons (campaign_id, node_id, analysis_id, text, tags_json, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (campaign_id, node_id, analysis_id, text, tags_json, now),
        )
        await documents.put(tx, "lesson", number, text, campaign_id=campaign_id)
        lesson_ids.append(number)
    await events.record(tx, campaign_id, "analysis_recorded", short_id("n", node_id))
    return analysis_id, lesson_ids


async def latest(reader: Reader, node_ids: Sequence[int]) -> dict[int, Analysis]:
    """Node number to its newest analysis; nodes without one are left out."""
    marks = ", ".join("?" * len(node_ids))
    rows = await reader.all(
        f"SELECT * FROM analyses WHERE id IN (SELECT max(id) FROM analyses WHERE node_id IN ({marks})"
        " GROUP BY node_id)",
        list(node_ids),
    )
    return {row["node_id"]: _analysis(row) for row in rows}


async def latest_tags(reader: Reader, node_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Node number to the tags of its newest analysis; nodes without one are left out."""
    marks = ", ".join("?" * len(node_ids))
    rows = await reader.all(
        "SELECT node_id, tags_json FROM analyses WHERE id IN (SELECT max(id) FROM analyses"
        f" WHERE node_id IN ({marks}) GROUP BY node_id)",
        list(node_ids),
    )
    return {row["node_id"]: tuple(json.loads(row["tags_json"])) for row in rows}


async def node_of(reader: Reader, analysis_ids: Sequence[int]) -> dict[int, int]:
    """Analysis number to node number."""
    marks = ", ".join("?" * len(analysis_ids))
    rows = await reader.all(f"SELECT id, node_id FROM analyses WHERE id IN ({marks})", list(analysis_ids))
    return {row["id"]: row["node_id"] for row in rows}


async def without_analysis(reader: Reader, campaign_id: int, limit: int = 10) -> list[int]:
    """Finished nodes that nobody has analysed yet, newest first. The baseline needs none."""
    rows = await reader.all(
        "SELECT id FROM nodes AS n WHERE campaign_id = ? AND NOT is_baseline"
        " AND outcome NOT IN ('cancelled', 'lost', 'infrastructure_error')"
        " AND NOT EXISTS (SELECT 1 FROM analyses WHERE node_id = n.id) ORDER BY id DESC LIMIT ?",
        (campaign_id, limit),
    )
    return [row["id"] for row in rows]


async def lessons_of(reader: Reader, node_id: int) -> list[Lesson]:
    """Lessons drawn from a node, oldest first."""
    return [_lesson(row) for row in await reader.all("SELECT * FROM lessons WHERE node_id = ? ORDER BY id", (node_id,))]


async def lessons(reader: Reader, numbers: Sequence[int]) -> list[Lesson]:
    """Lessons in the order asked for.

    Raises:
        NotFound: one of them does not exist.
    """
    advice = "campaign_status and get_node list lessons."
    return [_lesson(row) for row in await reader.numbered("SELECT * FROM lessons WHERE id", numbers, "l", advice)]


async def lessons_with(reader: Reader, campaign_ids: Sequence[int] | None, tags: Sequence[str]) -> list[int]:
    """Numbers of the lessons of some campaigns (`None`: of all) that carry at least one of some tags, whatever their
    case."""
    rows = await reader.all(
        "SELECT id FROM lessons WHERE (?1 IS NULL OR campaign_id IN (SELECT value FROM json_each(?1))) AND EXISTS"
        " (SELECT 1 FROM json_each(tags_json) AS own JOIN json_each(?2) AS wanted"
        " ON own.value = wanted.value COLLATE NOCASE)",
        (json.dumps(list(campaign_ids)) if campaign_ids is not None else None, json.dumps(list(tags))),
    )
    return [row["id"] for row in rows]


async def latest_lessons(reader: Reader, campaign_id: int, limit: int) -> list[Lesson]:
    """The newest lessons of a campaign, newest first."""
    rows = await reader.all(
        "SELECT * FROM lessons WHERE campaign_id = ? ORDER BY id DESC LIMIT ?", (campaign_id, limit)
    )
    return [_lesson(row) for row in rows]


async def lesson_count(reader: Reader, campaign_id: int) -> int:
    """Lessons of a campaign."""
    return int(await reader.value("SELECT count(*) FROM lessons WHERE campaign_id = ?", (campaign_id,)))


def _analysis(row: Row) -> Analysis:
    return Analysis(row["id"], row["node_id"], row["report"], tuple(json.loads(row["tags_json"])), row["created_at"])


def _lesson(row: Row) -> Lesson:
    return Lesson(
        id=row["id"],
        campaign_id=row["campaign_id"],
        node_id=row["node_id"],
        text=row["text"],
        tags=tuple(json.loads(row["tags_json"])),
        created_at=row["created_at"],
    )
