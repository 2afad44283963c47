"""The MAP-Elites archive of a campaign: begun from what is stored, and true to every score from then on.

Whatever sets or clears a node's score calls `rescored` in the same transaction. Measures of a program cost time, so
they are taken outside of any transaction (`database.appraisal`) and handed to `admit`; until then a scored node waits
in the archive's queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...evolution.map_elites import ArchiveForm
from ...evolution.measures import REFERENCES
from .. import campaigns
from ..connection import Reader, Transaction
from . import cells, ring
from .cells import MEASURES, Archive, Values

TABLES = ("archive_queue", "cells", "islanders", "archive_islands", "archive_references", "archive_ranges", "archives")


@dataclass(frozen=True)
class CodeMeasures:
    """What a program's text tells."""

    complexity: float
    diversity: float


@dataclass(frozen=True)
class Appraisal:
    """Measures that were taken outside of a transaction, and what they hold for."""

    campaign_id: int
    form: ArchiveForm
    references: tuple[int, ...]
    """What diversity was measured against."""
    known_references: tuple[int, ...]
    """Those that were references already; the others become so."""
    measures: Mapping[int, CodeMeasures]


async def ensure(tx: Transaction, campaign_id: int, form: ArchiveForm) -> None:
    """Begin the archive of a campaign, or bring it into another form: then every scored node has to be admitted. A
    change of `bins` alone sorts those that are there into new cells."""
    archive = await cells.find(tx, campaign_id)
    if archive is None or (archive.form.measures, archive.form.islands) != (form.measures, form.islands):
        await _begin(tx, campaign_id, form)
    elif archive.form != form:
        await tx.execute(
            "UPDATE archives SET form_json = ? WHERE campaign_id = ?", (cells.form_json(form), campaign_id)
        )
        await cells.rebin(tx, Archive(campaign_id, form, archive.ranges))


async def _begin(tx: Transaction, campaign_id: int, form: ArchiveForm) -> None:
    for table in TABLES:
        await tx.execute(f"DELETE FROM {table} WHERE campaign_id = ?", (campaign_id,))
    await tx.execute(
        "INSERT INTO archives (campaign_id, form_json) VALUES (?, ?)", (campaign_id, cells.form_json(form))
    )
    await tx.execute(
        "INSERT INTO archive_references (campaign_id, node_id) SELECT campaign_id, id FROM nodes"
        " WHERE campaign_id = ? AND score IS NOT NULL ORDER BY id LIMIT ?",
        (campaign_id, REFERENCES),
    )
    await tx.execute(
        "INSERT INTO archive_queue (campaign_id, node_id) SELECT campaign_id, id FROM nodes"
        " WHERE campaign_id = ? AND score IS NOT NULL",
        (campaign_id,),
    )


async def rescored(tx: Transaction, node_id: int) -> None:
    """A node's score was set or cleared: in every archive that knows it, it takes the place that it has now."""
    rows = await tx.all(
        "SELECT a.campaign_id, n.score, max(ifnull(i.is_measured, 0)) AS is_measured FROM nodes AS n JOIN ("
        " SELECT campaign_id FROM nodes WHERE id = ?1 UNION SELECT campaign_id FROM islanders WHERE node_id = ?1"
        ") AS known JOIN archives AS a ON a.campaign_id = known.campaign_id"
        " LEFT JOIN islanders AS i ON i.node_id = n.id AND i.campaign_id = a.campaign_id"
        " WHERE n.id = ?1 GROUP BY a.campaign_id",
        (node_id,),
    )
    for row in rows:
        archive = await cells.find(tx, row["campaign_id"])
        if archive is not None and row["is_measured"]:
            await cells.place(tx, archive, node_id, row["score"], await _values(tx, archive, node_id, None))
        elif row["score"] is not None:
            await tx.execute(
                "INSERT OR IGNORE INTO archive_queue (campaign_id, node_id) VALUES (?, ?)",
                (row["campaign_id"], node_id),
            )
        else:
            await tx.execute(
                "DELETE FROM archive_queue WHERE campaign_id = ? AND node_id = ?", (row["campaign_id"], node_id)
            )


async def admit(tx: Transaction, appraisal: Appraisal | None) -> None:
    """Give appraised nodes their place. Where the archive has changed meanwhile nothing happens, and they wait in its
    queue for the next appraisal."""
    archive = await cells.find(tx, appraisal.campaign_id) if appraisal is not None else None
    if appraisal is None or archive is None or archive.form != appraisal.form:
        return
    scores = await _scores(tx, list(appraisal.measures))
    joining = [node for node in appraisal.references if node not in appraisal.known_references]
    known = await references(tx, archive.campaign_id)
    if known != appraisal.known_references or any(scores[node] is None for node in joining):
        return
    await tx.many(
        "INSERT INTO archive_references (campaign_id, node_id) VALUES (?, ?)",
        [(archive.campaign_id, node) for node in joining],
    )
    await tx.many(
        "DELETE FROM archive_queue WHERE campaign_id = ? AND node_id = ?",
        [(archive.campaign_id, node) for node in appraisal.measures],
    )
    options = (await campaigns.get(tx, archive.campaign_id)).settings.sampling
    new = await _unmeasured(tx, archive.campaign_id, list(appraisal.measures))
    for node, measures in appraisal.measures.items():
        if node in new and scores[node] is None:
            continue  # its score was taken back; with the next one it waits in the queue again
        island = await _home(tx, archive, node) if node in new else None
        values = await _values(tx, archive, node, measures)
        archive = await cells.place(tx, archive, node, scores[node], values)
        if island is not None:
            await ring.arrived(tx, archive, island, options)


async def _unmeasured(reader: Reader, campaign_id: int, node_ids: Sequence[int]) -> set[int]:
    marks = ", ".join("?" * len(node_ids))
    rows = await reader.all(
        f"SELECT node_id FROM islanders WHERE campaign_id = ? AND is_measured AND node_id IN ({marks})",
        [campaign_id, *node_ids],
    )
    return set(node_ids) - {row["node_id"] for row in rows}


async def _scores(reader: Reader, node_ids: Sequence[int]) -> dict[int, float | None]:
    marks = ", ".join("?" * len(node_ids))
    rows = await reader.all(f"SELECT id, score FROM nodes WHERE id IN ({marks})", list(node_ids))
    return {row["id"]: row["score"] for row in rows}


async def references(reader: Reader, campaign_id: int) -> tuple[int, ...]:
    """The nodes that diversity is measured against: the first that scored, up to `REFERENCES`.

    Once they are full they stay the same for the life of the archive, whatever becomes of their scores: else every cell
    would move with them, and no two runs of a campaign would compare.
    """
    rows = await reader.all(
        "SELECT node_id FROM archive_references WHERE campaign_id = ? ORDER BY node_id", (campaign_id,)
    )
    return tuple(row["node_id"] for row in rows)


async def _values(tx: Transaction, archive: Archive, node_id: int, code: CodeMeasures | None) -> Values:
    """Raw measures: of the code as given or, without, as stored; of the metrics as its runs at the stage of its score
    have told."""
    stored = None
    if code is None:
        stored = await tx.one(
            f"SELECT {', '.join(MEASURES)} FROM islanders WHERE campaign_id = ? AND node_id = ? LIMIT 1",
            (archive.campaign_id, node_id),
        )
    told = await _metrics(tx, node_id) if any(m.source == "metric" for m in archive.form.measures) else {}
    values: list[float | None] = []
    for number, measure in enumerate(archive.form.measures):
        if measure.source == "metric":
            values.append(told.get(measure.name))
        elif code is not None:
            values.append(code.complexity if measure.source == "complexity" else code.diversity)
        else:
            values.append(stored[MEASURES[number]] if stored is not None else None)
    return values


async def _metrics(reader: Reader, node_id: int) -> dict[str, float]:
    """Metric to its mean over the seeds behind the node's score, the latest run of each seed."""
    rows = await reader.all(
        "SELECT m.name, avg(m.value) AS value FROM metrics AS m WHERE m.evaluation_id IN ("
        " SELECT max(v.id) FROM evaluations AS v JOIN experiments AS e ON e.id = v.experiment_id"
        " JOIN nodes AS n ON n.id = e.node_id WHERE n.id = ? AND v.stage = n.score_stage AND v.score IS NOT NULL"
        " AND (e.quarantine_json IS NULL OR e.outcome = 'scored') GROUP BY v.seed) GROUP BY m.name",
        (node_id,),
    )
    return {row["name"]: row["value"] for row in rows}


async def _home(tx: Transaction, archive: Archive, node_id: int) -> int | None:
    """The island where a node of this campaign lives from now on; `None` for one of another campaign.

    That for which its first parent was drawn; without a draw, that of the first parent; a child of the baseline begins
    a lineage, and lineages go around the islands, since every one of them would live on the baseline's otherwise.
    """
    settlers: list[int] = []
    current: int | None = node_id
    island: int | None = None
    while island is None:
        assert current is not None
        row = await tx.one(
            "SELECT n.campaign_id, p.id AS parent, p.campaign_id AS parents_campaign, p.is_baseline, h.island AS home,"
            " (SELECT island FROM draws WHERE settled_by = n.id AND node_id = p.id AND island IS NOT NULL LIMIT 1)"
            " AS drawn_for,"
            " (SELECT island FROM islanders WHERE node_id = p.id AND campaign_id = ?2 ORDER BY island LIMIT 1) AS hosts"
            " FROM nodes AS n LEFT JOIN lineage AS l ON l.node_id = n.id AND l.position = 0"
            " LEFT JOIN nodes AS p ON p.id = l.parent_id"
            " LEFT JOIN islanders AS h ON h.campaign_id = ?2 AND h.node_id = n.id AND h.is_home WHERE n.id = ?1",
            (current, archive.campaign_id),
        )
        assert row is not None
        if row["campaign_id"] != archive.campaign_id:
            return None
        if row["home"] is not None:
            island = int(row["home"])
            break
        settlers.append(current)
        if row["drawn_for"] is not None and row["drawn_for"] < archive.form.islands:
            island = int(row["drawn_for"])
        elif row["parent"] is None or row["is_baseline"]:
            island = await _next_lineage(tx, archive)
        elif row["parents_campaign"] != archive.campaign_id:
            island = int(row["hosts"]) if row["hosts"] is not None else await _next_lineage(tx, archive)
        current = row["parent"]
    for settler in reversed(settlers):  # ancestors that have failed live there too, so that others find the way
        await tx.execute(
            f"INSERT INTO islanders (campaign_id, island, node_id, place, is_home) SELECT ?1, ?2, ?3, {ring.NEXT}, 1"
            # One that came back from another campaign before this archive was built anew is here already.
            " WHERE true ON CONFLICT (node_id, campaign_id, island) DO UPDATE SET is_home = 1",
            (archive.campaign_id, island, settler),
        )
    return island


async def _next_lineage(tx: Transaction, archive: Archive) -> int:
    await tx.execute("UPDATE archives SET lineages = lineages + 1 WHERE campaign_id = ?", (archive.campaign_id,))
    lineages = await tx.value("SELECT lineages FROM archives WHERE campaign_id = ?", (archive.campaign_id,))
    return int(lineages - 1) % archive.form.islands
