"""What the memory costs: CPU milliseconds per call at a given number of nodes, next to plain SQLite on the same disk.

The floor is one INSERT of the row that holds the candidate's text, in a transaction of its own, through the same driver
with the same pragmas, but without asyncio, lineage, journal or index. It is measured in turns with our calls, in the
same run, so that a busy machine slows both alike. CPU time is that of this process, worker threads included.

    python benchmarks/memory.py --nodes 5000
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import accumulate
from pathlib import Path

from asi_evolve.database import analyses, campaigns, cognition, experiments, nodes
from asi_evolve.database.connection import Transaction, find_driver
from asi_evolve.database.workspace import Workspace, open_workspace
from asi_evolve.evolution import budgets
from asi_evolve.evolution.models import Budget, CampaignSettings, CognitionOrigin
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.evolution.sampling import make_sampler
from asi_evolve.evolution.statistics import Mean
from rich.console import Console
from rich.table import Table

CODE_BYTES = 8_000
# Word frequencies fall with their rank as in any language (Zipf), or every text would match every query.
WORDS = [f"w{rank:x}" for rank in range(1, 5001)]
WEIGHTS = list(accumulate(1 / rank for rank in range(1, 5001)))


class Memory:
    """A campaign that grows, and the calls that tools make on it."""

    def __init__(self, workspace: Workspace, campaign: int) -> None:
        self.workspace = workspace
        self.campaign = campaign
        self.random = random.Random(0)
        self.newest = 0

    def text(self, words: int) -> str:
        return " ".join(self.random.choices(WORDS, cum_weights=WEIGHTS, k=words))

    def code(self) -> str:
        line = f"# {self.random.random()} {self.text(8)}\n"
        return (line * (CODE_BYTES // len(line) + 1))[:CODE_BYTES]

    async def grow(self, tx: Transaction) -> None:
        """A finished, scored node, cheaply: for filling up."""
        number = await self._store(tx)
        score = round(self.random.random(), 3)
        await experiments.finish(tx, number, Outcome.SCORED, "", score)
        await nodes.set_score(tx, self.newest, "explore", Mean(score, None, 1))

    async def _store(self, tx: Transaction) -> int:
        campaign = await campaigns.get(tx, self.campaign)
        use = await campaigns.use(tx, campaign, time.time())
        if budgets.reached(campaign.settings.budget, use):
            raise RuntimeError("the benchmark's campaign has a budget that is too small")
        code = self.code()
        fingerprint = str(hash(code))
        if await nodes.with_fingerprint(tx, self.campaign, fingerprint) is not None:
            raise RuntimeError("the benchmark made the same program twice")
        parents = [self.random.randint(1, self.newest)] if self.newest else []
        self.newest = await nodes.add(
            tx,
            nodes.NewNode(self.campaign, self.text(4), self.text(40), {"packing.py": code}, fingerprint, parents),
        )
        return await experiments.enqueue(tx, campaign_id=self.campaign, node_id=self.newest, stage="explore", seeds=[0])

    async def add(self) -> None:
        """As run_experiment stores: budget, twin, node, experiment."""
        async with self.workspace.transaction() as tx:
            await self._store(tx)

    async def analyse(self) -> None:
        """As record_analysis stores."""
        async with self.workspace.transaction() as tx:
            await analyses.add(
                tx,
                campaign_id=self.campaign,
                node_id=self.random.randint(1, self.newest),
                report=self.text(120),
                lessons=[self.text(25), self.text(25)],
                tags=["slsqp"],
            )

    def sample(self, policy: str) -> Callable[[], Awaitable[None]]:
        """As sample_nodes draws: a parent and two references, and the visit is counted."""
        sampler = make_sampler(policy)

        async def call() -> None:
            async with self.workspace.transaction() as tx:
                choices = await sampler.choose(nodes.ScoredNodes(tx, self.campaign), 3, self.random)
                await nodes.count_visit(tx, self.campaign, choices[0].member.id)

        return call

    async def leaderboard(self) -> None:
        """As search_nodes without a query."""
        found = await nodes.listed(self.workspace.read, self.campaign, limit=10)
        await nodes.count(self.workspace.read, self.campaign)
        await analyses.latest(self.workspace.read, [node.id for node in found])

    async def search(self) -> None:
        """As search_cognition: items of the domain and lessons of the campaign, by words."""
        query = self.text(12)
        items = await self.workspace.documents.find(query, "cognition", domain="circle_packing")
        await cognition.many(self.workspace.read, [hit.ref_id for hit in items.hits])
        lessons = await self.workspace.documents.find(query, "lesson", campaigns=[self.campaign])
        await analyses.lessons(self.workspace.read, [hit.ref_id for hit in lessons.hits])


class Floor:
    """The least that SQLite can do for one durable row."""

    def __init__(self, path: Path) -> None:
        self.connection = find_driver().connect(path)
        self.connection.execute("CREATE TABLE node_files (id INTEGER PRIMARY KEY, path TEXT, text TEXT) STRICT")
        self.random = random.Random(1)

    async def insert(self) -> None:
        code = f"# {self.random.random()}\n".ljust(CODE_BYTES, "x")
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute("INSERT INTO node_files (path, text) VALUES ('packing.py', ?)", (code,))
        self.connection.execute("COMMIT")


async def fill(memory: Memory, count: int) -> None:
    """Nodes in batches; an analysis with two lessons for every second one; sixty cognition items."""
    async with memory.workspace.transaction() as tx:
        for _ in range(60):
            title, body = memory.text(6), memory.text(150)
            await cognition.add(
                tx, cognition.NewItem("circle_packing", title, body, "", "benchmark", (), CognitionOrigin.SEED)
            )
    for start in range(0, count, 250):
        async with memory.workspace.transaction() as tx:
            for _ in range(min(250, count - start)):
                await memory.grow(tx)
                if memory.newest % 2:
                    await analyses.add(
                        tx,
                        campaign_id=memory.campaign,
                        node_id=memory.newest,
                        report=memory.text(120),
                        lessons=[memory.text(25), memory.text(25)],
                        tags=["slsqp"],
                    )


async def in_turns(
    calls: dict[str, Callable[[], Awaitable[None]]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """(CPU ms, wall ms) of each call, one round after the other."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            await call()
            taken[name].append(((time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3))
    return taken


async def opening(root: Path, rounds: int) -> list[tuple[float, float]]:
    """(CPU ms, wall ms) to open the workspace as it is and read one campaign."""
    taken: list[tuple[float, float]] = []
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        async with open_workspace(root) as workspace:
            await campaigns.get(workspace.read, 1)
            taken.append(((time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3))
    return taken


def quantile(values: Iterable[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


def machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    driver = find_driver()
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{model}, {os.cpu_count()} CPUs, load {load}; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}; {driver.name}, SQLite {driver.sqlite_version}"
    )


async def run(count: int, rounds: int, folder: Path) -> None:
    console = Console(width=max(100, Console().width))
    console.print(machine(), highlight=False)
    begin = time.perf_counter()
    async with open_workspace(folder / "workspace") as workspace:
        async with workspace.transaction() as tx:
            campaign = await campaigns.add(
                tx,
                name="benchmark",
                goal="",
                domain="circle_packing",
                domain_name="circle_packing",
                domain_version="1",
                instance=None,
                settings=CampaignSettings(budget=Budget(experiments=1_000_000)),
            )
        memory = Memory(workspace, campaign)
        await fill(memory, count)
        size = sum(path.stat().st_size for path in (folder / "workspace").glob("evolve.db*")) / 1e6
        console.print(f"filled in {time.perf_counter() - begin:.0f} s; {size:.0f} MB on disk", highlight=False)
        floor = Floor(folder / "floor.db")
        taken = await in_turns(
            {
                "floor: one INSERT, plain SQLite": floor.insert,
                "add node + experiment": memory.add,
                "record analysis, 2 lessons": memory.analyse,
                "sample ucb1": memory.sample("ucb1"),
                "sample greedy": memory.sample("greedy"),
                "sample random": memory.sample("random"),
                "leaderboard, 10 of all": memory.leaderboard,
                "search cognition + lessons by words": memory.search,
            },
            rounds,
        )
    taken["open the workspace"] = await opening(folder / "workspace", max(rounds // 10, 5))
    base = statistics.median(cpu for cpu, _ in taken["floor: one INSERT, plain SQLite"])
    table = Table(title=f"{count:,} nodes of {CODE_BYTES:,} bytes; milliseconds per call over {rounds} rounds")
    table.add_column("call")
    for heading in ("CPU median", "CPU p95", "wall median", "x floor"):
        table.add_column(heading, justify="right")
    for name, values in taken.items():
        cpus = [cpu for cpu, _ in values]
        middle = statistics.median(cpus)
        wall = statistics.median(wall for _, wall in values)
        table.add_row(name, f"{middle:.2f}", f"{quantile(cpus, 0.95):.2f}", f"{wall:.2f}", f"{middle / base:.1f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=5000, help="nodes in the campaign (default 5000)")
    parser.add_argument("--rounds", type=int, default=200, help="calls of each kind (default 200)")
    parser.add_argument("--folder", type=Path, help="where to put the files; default: the temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="asi-evolve-benchmark-") as folder:
        asyncio.run(run(options.nodes, options.rounds, Path(folder)))


if __name__ == "__main__":
    main()
