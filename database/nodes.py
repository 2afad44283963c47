"""Nodes: candidates with their motivation, files, lineage, what inspired them, and their score."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..evolution.ids import Kind, short_id
from ..evolution.models import Judging, Node
from ..evolution.novelty.likeness import Profile
from ..evolution.outcomes import ExperimentStatus, Outcome
from ..evolution.statistics import Mean
from . import draws, events, outlines
from .connection import Reader, Row, Transaction
from .map_elites import archive
from .search import documents

Order = Literal["best", "newest", "oldest"]
_ORDERS: dict[str, str] = {
    "newest": "id DESC",
    "oldest": "id",
}


@dataclass(frozen=True)
class NewNode:
    """A candidate that is about to be stored."""

    campaign_id: int
    name: str
    motivation: str
    files: Mapping[str, str]
    fingerprint: str
    parents: Sequence[int] = ()
    inspired_by: Sequence[tuple[Kind, int]] = ()
    is_baseline: bool = False
    profile: Profile | None = None
    """What it is compared by; `None` leaves that to the first search for programs like another."""


async def add(tx: Transaction, new: NewNode) -> int:
    """Store a candidate with all that belongs to it and return its number."""
    code_bytes = sum(len(text.encode()) for text in new.files.values())
    node_id = await tx.insert(
        "INSERT INTO nodes (campaign_id, name, is_baseline, status, code_bytes, fingerprint, created_at, ordinal)"
        " VALUES (?1, ?2, ?3, 'queued', ?4, ?5, ?6,"
        " 1 + ifnull((SELECT ordinal FROM nodes WHERE campaign_id = ?1 ORDER BY id DESC LIMIT 1), 0))",
        (new.campaign_id, new.name, new.is_baseline, code_bytes, new.fingerprint, time.time()),
    )
    await tx.execute("INSERT INTO node_texts (node_id, motivation) VALUES (?, ?)", (node_id, new.motivation))
    await tx.many(
        "INSERT INTO node_files (node_id, path, text) VALUES (?, ?, ?)",
        [(node_id, path, text) for path, text in new.files.items()],
    )
    await tx.many(
        "INSERT INTO lineage (node_id, position, parent_id) VALUES (?, ?, ?)",
        [(node_id, position, parent) for position, parent in enumerate(new.parents)],
    )
    await draws.settle(tx, new.campaign_id, new.parents, node_id)
    await tx.many(
        "INSERT INTO inspirations (node_id, kind, ref_id) VALUES (?, ?, ?)",
        [(node_id, kind, number) for kind, number in dict.fromkeys(new.inspired_by)],
    )
    await documents.put(tx, "motivation", node_id, f"{new.name}\n{new.motivation}", campaign_id=new.campaign_id)
    if new.profile is not None:
        await outlines.put(tx, node_id, new.profile)
    await events.record(tx, new.campaign_id, "node_added", short_id("n", node_id), name=new.name)
    return node_id


_SELECT = (
    "SELECT n.*, (SELECT group_concat(parent_id) FROM (SELECT parent_id FROM lineage WHERE node_id = n.id"
    " ORDER BY position)) AS parents FROM nodes AS n"
)


async def get(reader: Reader, node_id: int) -> Node:
    """The node of that number.

    Raises:
        NotFound: there is none.
    """
    found = await many(reader, [node_id])
    return found[0]


async def many(reader: Reader, node_ids: Sequence[int]) -> list[Node]:
    """Nodes in the order asked for.

    Raises:
        NotFound: one of them does not exist.
    """
    rows = await reader.numbered(f"{_SELECT} WHERE n.id", node_ids, "n", "search_nodes lists those of a campaign.")
    return [_node(row) for row in rows]


async def listed(
    reader: Reader,
    campaign_id: int,
    *,
    order: Order = "best",
    outcome: str | None = None,
    limit: int = 20,
    offset: int = 0,
) -> list[Node]:
    """A page of the nodes of a campaign. `outcome` is an `Outcome`, or a status such as `queued`."""
    where, parameters = _filter(campaign_id, outcome)
    if order != "best":
        rows = await reader.all(
            f"{_SELECT} WHERE {where} ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?", [*parameters, limit, offset]
        )
        return [_node(row) for row in rows]
    # Two questions, so that each is answered along an index: first those with a score, then those without.
    rows = await reader.all(
        f"{_SELECT} WHERE {where} AND score IS NOT NULL ORDER BY score DESC, n.id LIMIT ? OFFSET ?",
        [*parameters, limit, offset],
    )
    if len(rows) < limit:
        scored = await reader.value(f"SELECT count(*) FROM nodes AS n WHERE {where} AND score IS NOT NULL", parameters)
        rows += await reader.all(
            f"{_SELECT} WHERE {where} AND score IS NULL ORDER BY n.id LIMIT ? OFFSET ?",
            [*parameters, limit - len(rows), max(offset - scored, 0)],
        )
    return [_node(row) for row in rows]


async def listed_across(
    reader: Reader,
    campaign_ids: Sequence[int],
    *,
    order: Order,
    outcome: str | None = None,
    limit: int = 20,
    offset: int = 0,
) -> list[Node]:
    """A page of the nodes of several campaigns; `best` is for campaigns whose scores compare.

    Each campaign gives its own first ones along an index, since one question over all of them would sort every node.
    """
    found = [
        node
        for campaign_id in campaign_ids
        for node in await listed(reader, campaign_id, order=order, outcome=outcome, limit=offset + limit)
    ]
    return sorted(found, key=in_order(order))[offset : offset + limit]


def in_order(order: Order) -> Callable[[Node], tuple[float, ...]]:
    """The sort key of an order."""
    keys: dict[Order, Callable[[Node], tuple[float, ...]]] = {
        "best": lambda node: (node.score is None, -(node.score or 0.0), node.id),
        "newest": lambda node: (-node.id,),
        "oldest": lambda node: (node.id,),
    }
    return keys[order]


async def count(reader: Reader, campaign_id: int, outcome: str | None = None) -> int:
    """How many nodes a campaign has, all or those with an outcome."""
    where, parameters = _filter(campaign_id, outcome)
    return int(await reader.value(f"SELECT count(*) FROM nodes AS n WHERE {where}", parameters))


async def scored_count(reader: Reader, campaign_id: int) -> int:
    """How many nodes of a campaign have a score."""
    return int(
        await reader.value("SELECT count(*) FROM nodes WHERE campaign_id = ? AND score IS NOT NULL", (campaign_id,))
    )


def _filter(campaign_id: int, outcome: str | None) -> tuple[str, list[object]]:
    if outcome is None:
        return "n.campaign_id = ?", [campaign_id]
    if outcome in tuple(ExperimentStatus):
        return "n.campaign_id = ? AND n.status = ?", [campaign_id, outcome]
    return "n.campaign_id = ? AND n.outcome = ? AND n.status <> 'quarantined'", [campaign_id, outcome]


async def baseline_id(reader: Reader, campaign_id: int) -> int | None:
    """The program that the campaign began with."""
    return await reader.value(
        "SELECT id FROM nodes WHERE campaign_id = ? AND is_baseline ORDER BY id LIMIT 1", (campaign_id,)
    )


async def recent_ids(reader: Reader, limit: int) -> list[int]:
    """Numbers of the newest nodes of the workspace, newest first."""
    return [row["id"] for row in await reader.all("SELECT id FROM nodes ORDER BY id DESC LIMIT ?", (limit,))]


async def outcome_counts(reader: Reader, campaign_id: int) -> dict[str, int]:
    """How many nodes ended how; those that have never ended or whose score is held, under their status."""
    rows = await reader.all(
        "SELECT CASE WHEN status = 'quarantined' THEN status ELSE ifnull(outcome, status) END AS state,"
        " count(*) AS nodes FROM nodes WHERE campaign_id = ? GROUP BY state",
        (campaign_id,),
    )
    return {row["state"]: row["nodes"] for row in rows}


async def finished_scores(reader: Reader, campaign_id: int) -> list[tuple[int, float | None]]:
    """(number, score) of every node that has ended by its own merit, oldest first."""
    rows = await reader.all(
        "SELECT id, score FROM nodes WHERE campaign_id = ?"
        " AND outcome NOT IN ('cancelled', 'lost', 'infrastructure_error') ORDER BY id",
        (campaign_id,),
    )
    return [(row["id"], row["score"]) for row in rows]


async def files(reader: Reader, node_id: int) -> dict[str, str]:
    """Path to text of a node's program."""
    rows = await reader.all("SELECT path, text FROM node_files WHERE node_id = ? ORDER BY path", (node_id,))
    return {row["path"]: row["text"] for row in rows}


async def programs(reader: Reader, node_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Node number to path to text."""
    marks = ", ".join("?" * len(node_ids))
    rows = await reader.all(
        f"SELECT node_id, path, text FROM node_files WHERE node_id IN ({marks}) ORDER BY node_id, path", list(node_ids)
    )
    found: dict[int, dict[str, str]] = {node_id: {} for node_id in node_ids}
    for row in rows:
        found[row["node_id"]][row["path"]] = row["text"]
    return found


async def motivations(reader: Reader, node_ids: Sequence[int]) -> dict[int, str]:
    """Node number to motivation."""
    marks = ", ".join("?" * len(node_ids))
    rows = await reader.all(f"SELECT node_id, motivation FROM node_texts WHERE node_id IN ({marks})", list(node_ids))
    return {row["node_id"]: row["motivation"] for row in rows}


async def inspirations(reader: Reader, node_id: int) -> list[str]:
    """Short ids of what inspired a node."""
    rows = await reader.all("SELECT kind, ref_id FROM inspirations WHERE node_id = ? ORDER BY kind, ref_id", (node_id,))
    return [f"{row['kind']}{row['ref_id']}" for row in rows]


async def children(reader: Reader, node_id: int, limit: int = 50) -> list[int]:
    """Nodes that name this one as a parent, oldest first."""
    rows = await reader.all(
        "SELECT node_id FROM lineage WHERE parent_id = ? ORDER BY node_id LIMIT ?", (node_id, limit)
    )
    return [row["node_id"] for row in rows]


async def with_fingerprint(reader: Reader, campaign_id: int, fingerprint: str) -> int | None:
    """The oldest node of a campaign with the same program, if there is one."""
    return await reader.value(
        "SELECT id FROM nodes WHERE campaign_id = ? AND fingerprint = ? ORDER BY id LIMIT 1",
        (campaign_id, fingerprint),
    )


async def count_visit(tx: Transaction, campaign_id: int, node_id: int, island: int | None = None) -> None:
    """Note that a campaign has handed out a node as a parent, for an island where it has them. With a node of another
    campaign, the draw counts in this one alone."""
    await tx.execute("UPDATE nodes SET visits = visits + 1 WHERE id = ? AND campaign_id = ?", (node_id, campaign_id))
    await draws.record(tx, campaign_id, node_id, island)
    await tx.execute("UPDATE campaigns SET samples_drawn = samples_drawn + 1 WHERE id = ?", (campaign_id,))
    await events.record(tx, campaign_id, "parent_sampled", short_id("n", node_id))


async def set_status(tx: Transaction, node_id: int, status: ExperimentStatus) -> None:
    """Where the node's latest experiment is. What earlier ones found stands meanwhile."""
    await tx.execute("UPDATE nodes SET status = ? WHERE id = ?", (status, node_id))


async def hold(tx: Transaction, node_id: int) -> None:
    """Its latest experiment scored what is not believed yet: nothing may build on the node or rank it meanwhile."""
    await set_status(tx, node_id, ExperimentStatus.QUARANTINED)
    await _clear_score(tx, node_id)


async def conclude(tx: Transaction, node_id: int, outcome: Outcome) -> None:
    """The node's latest experiment has ended.

    One that says nothing about the candidate leaves standing what an earlier one has found. One that counts against it
    takes back its score: else a program that runs with one seed only would lead the field.
    """
    node = await get(tx, node_id)
    await set_status(tx, node_id, ExperimentStatus.FINISHED)
    if not outcome.counts_against_candidate and node.outcome is not None and node.outcome.counts_against_candidate:
        return
    await tx.execute("UPDATE nodes SET outcome = ? WHERE id = ?", (outcome, node_id))
    if outcome is not Outcome.SCORED:
        await _clear_score(tx, node_id)


async def _clear_score(tx: Transaction, node_id: int) -> None:
    await tx.execute(
        "UPDATE nodes SET score = NULL, score_stderr = NULL, score_seeds = 0, score_stage = NULL, metric_score = NULL,"
        " quality = NULL WHERE id = ?",
        (node_id,),
    )
    await archive.rescored(tx, node_id)


async def set_score(tx: Transaction, node_id: int, stage: str, score: Mean, judging: Judging | None = None) -> None:
    """The node's score, from the seeds of one stage, and what it is made of where judges have a share in it."""
    parts = (judging.metric, judging.quality) if judging is not None else (None, None)
    await tx.execute(
        "UPDATE nodes SET score = ?, score_stderr = ?, score_seeds = ?, score_stage = ?, metric_score = ?, quality = ?"
        " WHERE id = ?",
        (score.value, score.stderr, score.seeds, stage, *parts, node_id),
    )
    await archive.rescored(tx, node_id)


async def rank(reader: Reader, node: Node) -> int:
    """The place of a scored node on the leaderboard of its campaign, from 1; the older one first among equals."""
    better = await reader.value(
        "SELECT count(*) FROM nodes WHERE campaign_id = ? AND score IS NOT NULL"
        " AND (score > ? OR score = ? AND id < ?)",
        (node.campaign_id, node.score, node.score, node.id),
    )
    return 1 + int(better)


def _node(row: Row) -> Node:
    return Node(
        id=row["id"],
        campaign_id=row["campaign_id"],
        name=row["name"],
        parents=tuple(int(part) for part in row["parents"].split(",")) if row["parents"] else (),
        is_baseline=bool(row["is_baseline"]),
        status=ExperimentStatus(row["status"]),
        outcome=Outcome(row["outcome"]) if row["outcome"] is not None else None,
        score=row["score"],
        score_stderr=row["score_stderr"],
        score_seeds=row["score_seeds"],
        score_stage=row["score_stage"],
        visits=row["visits"],
        code_bytes=row["code_bytes"],
        created_at=row["created_at"],
        judging=Judging(metric=row["metric_score"], quality=row["quality"])
        if row["metric_score"] is not None
        else None,
    )
