"""What it costs to say how sure scores are, in a campaign of a given size: CPU and wall milliseconds per answer.

Every candidate has one run, a tagged analysis and a parent among the hundred candidates before it; one in five failed.
Rows are inserted in bulk, since how they got there does not matter here.

    python benchmarks/evidence.py --nodes 100000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from asi_evolve.database import campaigns, nodes
from asi_evolve.database.workspace import Workspace, open_workspace
from asi_evolve.evolution.evidence.plateau import plateau
from asi_evolve.evolution.models import Budget, Campaign, CampaignSettings
from asi_evolve.tools import evidence
from asi_evolve.tools.status import status_fields
from rich.console import Console
from rich.table import Table

TAGS = [f"choice-{place}" for place in range(40)]
REPORT = "The number grew since the bound was far. " * 40


async def fill(workspace: Workspace, count: int) -> Campaign:
    """A campaign of `count` finished nodes."""
    rng = random.Random(0)
    async with workspace.transaction() as tx:
        campaign = await campaigns.add(
            tx,
            name="evidence",
            goal="",
            domain="circle_packing",
            domain_name="circle_packing",
            domain_version="1",
            instance=None,
            settings=CampaignSettings(budget=Budget(experiments=1_000_000)),
        )
    for start in range(1, count + 1, 5000):
        numbers = range(start, min(start + 5000, count + 1))
        scores = {number: None if number > 1 and rng.random() < 0.2 else rng.gauss(0, 1) for number in numbers}
        outcomes = {number: "limit" if score is None else "scored" for number, score in scores.items()}
        async with workspace.transaction() as tx:
            await tx.many(
                "INSERT INTO nodes (id, campaign_id, name, is_baseline, status, outcome, score, score_seeds,"
                " score_stage, code_bytes, fingerprint, created_at)"
                " VALUES (?, ?, 'n', ?, 'finished', ?, ?, 1, ?, 1, ?, 0)",
                [
                    (n, campaign, n == 1, outcomes[n], scores[n], None if scores[n] is None else "explore", str(n))
                    for n in numbers
                ],
            )
            await tx.many(
                "INSERT INTO lineage (node_id, position, parent_id) VALUES (?, 0, ?)",
                [(n, 1 if rng.random() < 0.05 else rng.randint(max(1, n - 100), n - 1)) for n in numbers if n > 1],
            )
            await tx.many(
                "INSERT INTO experiments (id, campaign_id, node_id, stage, seeds_json, status, outcome, created_at)"
                " VALUES (?, ?, ?, 'explore', '[0]', 'finished', ?, 0)",
                [(n, campaign, n, outcomes[n]) for n in numbers],
            )
            await tx.many(
                "INSERT INTO evaluations (experiment_id, stage, seed, outcome, reason, score, cpu_seconds,"
                " wall_seconds, gpu_seconds, peak_memory_mb, peak_pids, environment_json, started_at, finished_at)"
                " VALUES (?, 'explore', 0, ?, '', ?, 1, 1, 0, 1, 1, '{}', 0, 1)",
                [(n, outcomes[n], scores[n]) for n in numbers],
            )
            await tx.many(
                "INSERT INTO analyses (campaign_id, node_id, report, tags_json, created_at) VALUES (?, ?, ?, ?, 0)",
                [(campaign, n, REPORT, json.dumps(rng.sample(TAGS, 4))) for n in numbers if n > 1],
            )
    return await campaigns.get(workspace.read, campaign)


async def measured(call: Callable[[], Awaitable[object]], rounds: int) -> tuple[float, float, float]:
    """CPU ms and wall ms, medians, and wall ms of the first call, which loads numpy and scipy where it needs them."""
    taken: list[tuple[float, float]] = []
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        await call()
        taken.append(((time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3))
    return statistics.median(cpu for cpu, _ in taken), statistics.median(wall for _, wall in taken), taken[0][1]


async def measure(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_workspace(Path(folder) / "workspace") as workspace:
            campaign = await fill(workspace, count)
            reader = workspace.read

            async def trend() -> None:
                plateau([score for _, score in await nodes.finished_scores(reader, campaign.id)])

            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "noise of the best": lambda: evidence.noise_of_best(workspace, campaign.id),
                "plateau": trend,
                "effects of tags": lambda: evidence.effects_fields(workspace, campaign),
                "best of N": lambda: evidence.best_of_fields(workspace, campaign),
                "status, concise": lambda: status_fields(workspace, campaign, "concise"),
                "status, full": lambda: status_fields(workspace, campaign, "full"),
            }
            table = Table("answer", "CPU ms", "wall ms", "first, wall ms", title=f"{count} nodes, median of {rounds}")
            for name, call in calls.items():
                table.add_row(name, *(f"{value:.1f}" for value in await measured(call, rounds)))
            Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for count in arguments.nodes:
        asyncio.run(measure(count, arguments.rounds))


if __name__ == "__main__":
    main()
