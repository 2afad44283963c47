"""Outlines of candidates: stored with the node, found by likeness whether it waits, runs or has ended."""

from __future__ import annotations

from collections.abc import Sequence

from ..evolution.novelty.likeness import Profile
from ..evolution.novelty.outline import Outline
from .connection import Reader, Transaction


async def put(tx: Transaction, node_id: int, profile: Profile) -> None:
    """Store what a node is compared by, where that is not known yet."""
    outline = profile.outline
    campaign_id = await tx.value(
        "UPDATE nodes SET canonical = ? WHERE id = ? AND canonical IS NULL RETURNING campaign_id",
        (outline.canonical, node_id),
    )
    if campaign_id is not None:
        await tx.execute("INSERT INTO node_outlines (node_id, body) VALUES (?, ?)", (node_id, outline.packed()))
        await tx.execute(
            "INSERT INTO node_sketches (node_id, sketch, campaign) VALUES (?, vec_bit(?), ?)",
            (node_id, profile.sketch, campaign_id),
        )


async def with_canonical(reader: Reader, campaign_id: int, canonical: str) -> int | None:
    """The oldest node of a campaign with the same program but for names, if there is one."""
    return await reader.value(
        "SELECT id FROM nodes WHERE campaign_id = ? AND canonical = ? ORDER BY id LIMIT 1", (campaign_id, canonical)
    )


async def nearest(reader: Reader, campaign_id: int, bits: bytes, limit: int) -> list[int]:
    """Nodes whose sketches share most bits with these, nearest first."""
    rows = await reader.all(
        "SELECT node_id FROM node_sketches WHERE sketch MATCH vec_bit(?) AND k = ? AND campaign = ? ORDER BY distance",
        (bits, limit, campaign_id),
    )
    return [row["node_id"] for row in rows]


async def many(reader: Reader, node_ids: Sequence[int]) -> dict[int, Profile]:
    """Node number to what it is compared by; nodes of which that is not known are left out. In the order asked for."""
    marks = ", ".join("?" * len(node_ids))
    rows = await reader.all(
        "SELECT o.node_id, o.body, n.canonical FROM node_outlines AS o JOIN nodes AS n ON n.id = o.node_id"
        f" WHERE o.node_id IN ({marks})",
        list(node_ids),
    )
    found = {row["node_id"]: row for row in rows}
    return {
        node_id: Profile(Outline.unpacked(found[node_id]["canonical"], found[node_id]["body"]))
        for node_id in node_ids
        if node_id in found
    }


async def missing(reader: Reader, campaign_id: int, limit: int) -> list[int]:
    """Nodes of a campaign that have no outline yet, newest first."""
    rows = await reader.all(
        "SELECT id FROM nodes WHERE campaign_id = ? AND canonical IS NULL ORDER BY id DESC LIMIT ?",
        (campaign_id, limit),
    )
    return [row["id"] for row in rows]


async def added_after(reader: Reader, campaign_id: int, node_id: int, limit: int) -> list[int]:
    """The newest nodes of a campaign that were added after one, newest first."""
    rows = await reader.all(
        "SELECT id FROM nodes WHERE campaign_id = ? AND id > ? ORDER BY id DESC LIMIT ?", (campaign_id, node_id, limit)
    )
    return [row["id"] for row in rows]


async def newest(reader: Reader, campaign_id: int) -> int:
    """The number of the newest node of a campaign; 0 where it has none."""
    return int(await reader.value("SELECT ifnull(max(id), 0) FROM nodes WHERE campaign_id = ?", (campaign_id,)))
