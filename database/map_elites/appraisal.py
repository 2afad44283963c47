"""Takes the measures of programs outside of any transaction, and lets the archive catch up with what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ...evolution.map_elites import ArchiveForm
from ...evolution.measures import REFERENCES, complexity, diversity
from .. import nodes
from ..connection import Database, Reader
from . import archive, cells
from .archive import Appraisal, CodeMeasures

CATCH_UP = 500
"""Nodes that one call admits at most; a campaign that had more when it began its archive catches up over several."""
AT_ONCE = 25
"""Nodes that are admitted in one transaction, each with its ancestors, so that other writers get their turn."""

Files = Mapping[str, str]


async def appraise(reader: Reader, campaign_id: int, node_ids: Sequence[int]) -> Appraisal | None:
    """The measures of some nodes; `None` where the campaign keeps no archive.

    While there is room among the references the nodes join them, and all that were measured before are measured again:
    at most a few more than the references, since the first nodes that score are the references.
    """
    kept = await cells.find(reader, campaign_id)
    if kept is None or not node_ids:
        return None
    known = await archive.references(reader, campaign_id)
    joining = [node.id for node in await nodes.many(reader, node_ids) if node.campaign_id == campaign_id]
    joining = sorted(set(joining) - set(known))[: max(REFERENCES - len(known), 0)]
    again = await _measured(reader, campaign_id) if joining else []
    programs = await nodes.programs(reader, list(dict.fromkeys([*known, *again, *node_ids])))
    references = sorted([*known, *joining])
    subjects = list(dict.fromkeys([*again, *node_ids]))
    measures = await asyncio.to_thread(_measure, programs, subjects, references)
    return Appraisal(campaign_id, kept.form, tuple(references), known, measures)


async def _measured(reader: Reader, campaign_id: int) -> list[int]:
    rows = await reader.all(
        "SELECT DISTINCT node_id FROM islanders WHERE campaign_id = ? AND is_measured ORDER BY node_id", (campaign_id,)
    )
    return [row["node_id"] for row in rows]


def _measure(
    programs: Mapping[int, Files], subjects: Sequence[int], references: Sequence[int]
) -> dict[int, CodeMeasures]:
    compared = [programs[node] for node in references]
    return {node: CodeMeasures(complexity(programs[node]), diversity(programs[node], compared)) for node in subjects}


async def catch_up(database: Database, campaign_id: int, form: ArchiveForm, limit: int = CATCH_UP) -> int:
    """Bring the archive of a campaign into a form, and admit those that wait, the best first; how many still do."""
    kept = await cells.find(database.read, campaign_id)
    if kept is None or kept.form != form:
        async with database.transaction() as tx:
            await archive.ensure(tx, campaign_id, form)
    waiting = await _waiting(database.read, campaign_id, limit)
    for start in range(0, len(waiting), AT_ONCE):
        # Another process may have admitted some of them meanwhile.
        still = await _still_waiting(database.read, campaign_id, waiting[start : start + AT_ONCE])
        if still:
            appraisal = await appraise(database.read, campaign_id, still)
            async with database.transaction() as tx:
                await archive.admit(tx, appraisal)
    return await queue_length(database.read, campaign_id)


async def _waiting(reader: Reader, campaign_id: int, limit: int) -> list[int]:
    rows = await reader.all(
        "SELECT q.node_id FROM archive_queue AS q JOIN nodes AS n ON n.id = q.node_id WHERE q.campaign_id = ?"
        " ORDER BY n.score DESC, n.id LIMIT ?",
        (campaign_id, limit),
    )
    return [row["node_id"] for row in rows]


async def _still_waiting(reader: Reader, campaign_id: int, node_ids: Sequence[int]) -> list[int]:
    marks = ", ".join("?" * len(node_ids))
    rows = await reader.all(
        f"SELECT node_id FROM archive_queue WHERE campaign_id = ? AND node_id IN ({marks})", [campaign_id, *node_ids]
    )
    waiting = {row["node_id"] for row in rows}
    return [node_id for node_id in node_ids if node_id in waiting]


async def queue_length(reader: Reader, campaign_id: int) -> int:
    """Scored nodes of an archive whose measures have still to be taken."""
    return int(await reader.value("SELECT count(*) FROM archive_queue WHERE campaign_id = ?", (campaign_id,)))
