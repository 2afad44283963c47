"""Migration: elites go on to the next island of a ring as immigrants, through other campaigns where they exchange.

A node is never copied or lost: it keeps its home and competes for a cell of the other island too.
"""

from __future__ import annotations

from ...evolution.ids import short_id
from ...evolution.map_elites import emigrants
from ...evolution.models import SamplingOptions
from .. import events
from ..connection import Reader, Transaction
from . import cells
from .cells import MEASURES, Archive

NEXT = "(SELECT 1 + ifnull(max(place), 0) FROM islanders WHERE campaign_id = ?1 AND island = ?2)"
"""The place on an island that the next who comes there gets, as SQL on campaign and island."""


async def arrived(tx: Transaction, archive: Archive, island: int, options: SamplingOptions) -> None:
    """One more candidate that lives on an island has scored; every so many of them elites leave it."""
    scored = await tx.value(
        "INSERT INTO archive_islands (campaign_id, island, scored) VALUES (?, ?, 1)"
        " ON CONFLICT DO UPDATE SET scored = scored + 1 RETURNING scored",
        (archive.campaign_id, island),
    )
    if scored % options.migration_every == 0:
        await _migrate(tx, archive, island, options)


async def _migrate(tx: Transaction, archive: Archive, island: int, options: SamplingOptions) -> None:
    campaign_id, target = archive.campaign_id, island + 1
    if target == archive.form.islands:
        target = 0
        campaign_id = await _next_campaign(tx, archive.campaign_id) if options.exchange else campaign_id
    if (campaign_id, target) == (archive.campaign_id, island):
        return
    elites = await tx.value(
        "SELECT count(*) FROM cells WHERE campaign_id = ? AND island = ?", (archive.campaign_id, island)
    )
    leaving = await tx.all(
        "SELECT node_id FROM cells AS c WHERE campaign_id = ? AND island = ? AND NOT EXISTS (SELECT 1 FROM islanders"
        " WHERE campaign_id = ? AND island = ? AND node_id = c.node_id) ORDER BY score DESC, node_id LIMIT ?",
        (archive.campaign_id, island, campaign_id, target, emigrants(elites, options.migration_rate)),
    )
    for row in leaving:
        await _immigrate(tx, campaign_id, target, row["node_id"])
    if leaving:
        nodes = [short_id("n", row["node_id"]) for row in leaving]
        to = short_id("c", campaign_id)
        await events.record(tx, archive.campaign_id, "elites_migrated", to, nodes=nodes, island=island, to=target)


async def _next_campaign(reader: Reader, campaign_id: int) -> int:
    """The next in the ring of campaigns that exchange elites, by number; the campaign itself where it is alone."""
    rows = await reader.all(
        "SELECT other.id FROM campaigns AS own JOIN campaigns AS other ON other.program = own.program"
        " AND other.domain = own.domain AND other.domain_name = own.domain_name"
        " AND other.domain_version = own.domain_version AND other.instance IS own.instance"
        " JOIN archives AS a ON a.campaign_id = other.id WHERE own.id = ?"
        " AND json_extract(other.settings_json, '$.sampling.exchange')"
        " AND json_extract(other.settings_json, '$.sampler') = 'map_elites' ORDER BY other.id",
        (campaign_id,),
    )
    others = [row["id"] for row in rows]
    return next((other for other in others if other > campaign_id), others[0] if others else campaign_id)


async def _immigrate(tx: Transaction, campaign_id: int, island: int, node_id: int) -> None:
    """With the measures that the campaign knows of the node. One that is new to it waits until they are taken: its
    diversity is measured against the references of this campaign."""
    columns = f"is_measured, score, cell, {', '.join(MEASURES)}"
    copied = await tx.execute(
        f"INSERT INTO islanders (campaign_id, island, node_id, place, is_home, {columns})"
        f" SELECT campaign_id, ?2, node_id, {NEXT}, 0, {columns} FROM islanders"
        " WHERE campaign_id = ?1 AND node_id = ?3 AND is_measured LIMIT 1",
        (campaign_id, island, node_id),
    )
    if copied:
        await _compete(tx, campaign_id, island, node_id)
        return
    await tx.execute(
        f"INSERT INTO islanders (campaign_id, island, node_id, place, is_home) SELECT ?1, ?2, ?3, {NEXT}, 0",
        (campaign_id, island, node_id),
    )
    await tx.execute("INSERT OR IGNORE INTO archive_queue (campaign_id, node_id) VALUES (?, ?)", (campaign_id, node_id))


async def _compete(tx: Transaction, campaign_id: int, island: int, node_id: int) -> None:
    row = await tx.one(
        "SELECT cell, score FROM islanders WHERE campaign_id = ? AND island = ? AND node_id = ?",
        (campaign_id, island, node_id),
    )
    if row is not None and row["cell"] is not None and row["score"] is not None:
        await cells.claim(tx, campaign_id, island, row["cell"], node_id, row["score"])
