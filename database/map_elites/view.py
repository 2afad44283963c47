"""What there is to tell of an archive: where a node lives, and how full the islands are."""

from __future__ import annotations

from dataclasses import dataclass

from ...evolution.map_elites import bins_of
from ..connection import Reader
from . import cells
from .cells import Archive


@dataclass(frozen=True)
class Place:
    """Where a node lives."""

    island: int
    is_home: bool
    bins: tuple[int, ...] | None
    """Of its cell; `None` where its runs do not tell a measure."""


@dataclass(frozen=True)
class IslandState:
    """One island. `best` is the score of its best elite."""

    number: int
    nodes: int
    immigrants: int
    elites: int
    best: float | None


async def place_of(reader: Reader, campaign_id: int, node_id: int) -> Place | None:
    """The island that a node calls home, else the first to which it came; `None` for one that is on none."""
    archive = await cells.find(reader, campaign_id)
    row = await reader.one(
        "SELECT island, is_home, cell FROM islanders WHERE campaign_id = ? AND node_id = ?"
        " ORDER BY is_home DESC, island LIMIT 1",
        (campaign_id, node_id),
    )
    if archive is None or row is None:
        return None
    form = archive.form
    bins = bins_of(row["cell"], len(form.measures), form.bins) if row["cell"] is not None else None
    return Place(row["island"], bool(row["is_home"]), bins)


async def is_immigrant(reader: Reader, campaign_id: int, node_id: int) -> bool:
    """Whether a node has come to an island of a campaign from elsewhere."""
    found = await reader.value(
        "SELECT 1 FROM islanders WHERE campaign_id = ? AND node_id = ? AND NOT is_home LIMIT 1", (campaign_id, node_id)
    )
    return found is not None


async def islands(reader: Reader, archive: Archive) -> list[IslandState]:
    """Every island, in order. Nodes are those that have a score and measures."""
    rows = await reader.all(
        "SELECT island, count(*) AS nodes, sum(NOT is_home) AS immigrants FROM islanders"
        " WHERE campaign_id = ? AND score IS NOT NULL GROUP BY island",
        (archive.campaign_id,),
    )
    living = {row["island"]: row for row in rows}
    rows = await reader.all(
        "SELECT island, count(*) AS elites, max(score) AS best FROM cells WHERE campaign_id = ? GROUP BY island",
        (archive.campaign_id,),
    )
    ruling = {row["island"]: row for row in rows}
    return [
        IslandState(
            number,
            living[number]["nodes"] if number in living else 0,
            living[number]["immigrants"] if number in living else 0,
            ruling[number]["elites"] if number in ruling else 0,
            ruling[number]["best"] if number in ruling else None,
        )
        for number in range(archive.form.islands)
    ]


async def best_of_cells(reader: Reader, campaign_id: int) -> list[float]:
    """The score of the best elite of each cell, over all islands."""
    rows = await reader.all(
        "SELECT max(score) AS score FROM cells WHERE campaign_id = ? GROUP BY cell ORDER BY cell", (campaign_id,)
    )
    return [row["score"] for row in rows]
