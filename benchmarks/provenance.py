"""What the provenance of a campaign costs: CPU milliseconds per question at a given number of nodes.

The population is random: four of five nodes have scored, each names up to three of 2,000 items and up to two nodes or
lessons. The floor is a scan of the campaign's nodes. CPU time is that of this process, worker threads included.

    python benchmarks/provenance.py --nodes 100000
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from asi_evolve.database import campaigns, nodes, provenance
from asi_evolve.database.connection import Transaction
from asi_evolve.database.workspace import Workspace, open_workspace
from asi_evolve.evolution.models import CampaignSettings
from rich.console import Console
from rich.table import Table

ITEMS = 2_000
REPEATS = 5


async def fill(tx: Transaction, count: int) -> None:
    """A campaign of so many nodes, straight into the tables."""
    draw = random.Random(0)
    await campaigns.add(
        tx,
        name="benchmark",
        goal="",
        domain="d",
        domain_name="d",
        domain_version="1",
        instance=None,
        settings=CampaignSettings(),
    )
    await tx.many(
        "INSERT INTO cognition (domain, title, body, symptom, source, tags_json, origin, sha256, created_at)"
        " VALUES ('d', ?, 'b', '', 's', '[]', ?, ?, 0)",
        [(f"item {place}", "lesson" if place % 10 == 0 else "seed", str(place)) for place in range(ITEMS)],
    )
    scores = [draw.random() if draw.random() < 0.8 else None for _ in range(count)]
    await tx.many(
        "INSERT INTO nodes (campaign_id, name, is_baseline, status, outcome, score, score_stage, code_bytes,"
        " fingerprint, created_at) VALUES (1, 'n', ?, 'finished', ?, ?, ?, 1, 'f', 0)",
        [
            (place == 0, "limit" if score is None else "scored", score, None if score is None else "explore")
            for place, score in enumerate(scores)
        ],
    )
    later = range(2, count + 1)
    await tx.many("INSERT INTO lineage VALUES (?, 0, ?)", [(node, draw.randrange(1, node)) for node in later])
    links = {(node, "k", draw.randint(1, ITEMS)) for node in later for _ in range(draw.randint(0, 3))}
    links |= {(node, draw.choice("nl"), draw.randrange(1, node)) for node in later for _ in range(draw.randint(0, 2))}
    await tx.many("INSERT INTO inspirations VALUES (?, ?, ?)", sorted(links))


async def milliseconds(call: Callable[[], Awaitable[Any]]) -> float:
    """Median CPU time of a call."""
    taken: list[float] = []
    for _ in range(REPEATS):
        began = time.process_time()
        await call()
        taken.append(1000 * (time.process_time() - began))
    return statistics.median(taken)


async def count_one(workspace: Workspace) -> None:
    async with workspace.transaction() as tx:
        await provenance.count_retrievals(tx, 1, [1, 2, 3, 4, 5])


async def measure(count: int) -> list[tuple[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_workspace(Path(folder) / "workspace") as workspace:
            async with workspace.transaction() as tx:
                await fill(tx, count)
            reader = workspace.read
            calls: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
                ("floor: a scan of the nodes", lambda: nodes.finished_scores(reader, 1)),
                ("origins of all", lambda: provenance.origins(reader, 1)),
                ("origins of the best", lambda: provenance.origins_of_best(reader, 1)),
                ("what became of the items", lambda: provenance.item_uses(reader, 1)),
                ("counting one answer's retrievals", lambda: count_one(workspace)),
            ]
            return [(name, await milliseconds(call)) for name, call in calls]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[5_000, 100_000])
    counts: list[int] = parser.parse_args().nodes
    table = Table("CPU ms per call", *(f"{count:,} nodes" for count in counts))
    columns = [asyncio.run(measure(count)) for count in counts]
    for place, (name, _) in enumerate(columns[0]):
        table.add_row(name, *(f"{column[place][1]:.1f}" for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
