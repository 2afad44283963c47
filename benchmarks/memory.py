"""What the memory costs: CPU milliseconds per call at a given number of nodes, next to plain SQLite on the same disk.

The floor is one INSERT of the row that holds the candidate's text, in a transaction of its own, through the same driver
with the same pragmas, but without asyncio, lineage, journal or index. It is measured in turns with our calls, in the
same run, so that a busy machine slows both alike. CPU time is that of this process, worker threads included.

    python benchmarks/memory.py --nodes 100 1000 5000 100000 --peers /tmp/peers/bin/python

With --peers the databases of OpenEvolve and ShinkaEvolve do the same in an interpreter that has them
(`memory_peers.py`). The campaign grows from one size to the next. Up to 5,000 nodes are stored as the tools store them;
the rest go in row by row as the stores write them, many at a time, and into the archive as an older campaign's do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import accumulate
from pathlib import Path

from asi_evolve.database import analyses, campaigns, cognition, experiments, nodes
from asi_evolve.database.connection import Transaction, find_driver
from asi_evolve.database.map_elites import appraisal, archive
from asi_evolve.database.population import ScoredNodes
from asi_evolve.database.workspace import Workspace, open_workspace
from asi_evolve.evolution import budgets
from asi_evolve.evolution.map_elites import DEFAULT_MEASURES, ArchiveForm
from asi_evolve.evolution.models import Budget, CampaignSettings, CognitionOrigin, SamplingOptions
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.evolution.samplers import make_sampler
from asi_evolve.evolution.sampling import draw
from asi_evolve.evolution.statistics import Mean
from rich.console import Console
from rich.table import Table

CODE_BYTES = 8_000
THROUGH_THE_STORES = 5_000
PEER_SECONDS = 150.0
"""How long a peer may take to come to a size."""
FORM = ArchiveForm(DEFAULT_MEASURES, SamplingOptions().islands, SamplingOptions().bins)
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
        self.count = 0
        self.drawn: list[int] = []

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
        await self._check_budget(tx)
        code = self.code()
        fingerprint = str(hash(code))
        if await nodes.with_fingerprint(tx, self.campaign, fingerprint) is not None:
            raise RuntimeError("the benchmark made the same program twice")
        parents = self.drawn[-1:] or ([self.random.randint(1, self.newest)] if self.newest else [])
        self.count += 1
        self.newest = await nodes.add(
            tx,
            nodes.NewNode(self.campaign, self.text(4), self.text(40), {"packing.py": code}, fingerprint, parents),
        )
        return await experiments.enqueue(tx, campaign_id=self.campaign, node_id=self.newest, stage="explore", seeds=[0])

    async def _check_budget(self, tx: Transaction) -> None:
        campaign = await campaigns.get(tx, self.campaign)
        use = await campaigns.use(tx, campaign, time.time())
        if budgets.reached(campaign.settings.budget, use):
            raise RuntimeError("the benchmark's campaign has a budget that is too small")

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
        """As sample_nodes draws: budget, a parent and two references, and the visit is counted."""
        sampler = make_sampler(policy)
        islands = FORM.islands if policy == "map_elites" else 0

        async def call() -> None:
            async with self.workspace.transaction() as tx:
                await self._check_budget(tx)
                population = ScoredNodes(tx, self.campaign, islands=islands)
                choices = await draw(sampler, population, SamplingOptions(), 2, self.random)
                await nodes.count_visit(tx, self.campaign, choices[0].member.id, choices[0].island)
                self.drawn.append(choices[0].member.id)

        return call

    async def score(self) -> None:
        """As the engineer ends an experiment of a campaign with an archive: measures, score, cell, migration."""
        measured = await appraisal.appraise(self.workspace.read, self.campaign, [self.newest])
        async with self.workspace.transaction() as tx:
            await nodes.conclude(tx, self.newest, Outcome.SCORED)
            await nodes.set_score(tx, self.newest, "explore", Mean(round(self.random.random(), 3), None, 1))
            await archive.admit(tx, measured)

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
        for _ in range(0 if memory.count else 60):
            title, body = memory.text(6), memory.text(150)
            await cognition.add(
                tx, cognition.NewItem("circle_packing", title, body, "", "benchmark", (), CognitionOrigin.SEED)
            )
    memory.drawn.clear()
    for start in range(memory.count, min(count, THROUGH_THE_STORES), 250):
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
    for start in range(memory.count, count, 1000):
        async with memory.workspace.transaction() as tx:
            await pour(memory, tx, min(1000, count - start))


BULK = {
    "nodes (id, campaign_id, name, is_baseline, status, outcome, score, score_seeds, score_stage, code_bytes,"
    " fingerprint, created_at, ordinal)": "(:id, :campaign, :name, 0, 'finished', 'scored', :score, 1, 'explore',"
    " :bytes, :fingerprint, :now, :ordinal)",
    "node_texts": "(:id, :text)",
    "node_files": "(:id, 'packing.py', :code)",
    "lineage": "(:id, 0, :parent)",
    "experiments (campaign_id, node_id, stage, seeds_json, status, outcome, score, created_at, finished_at)": (
        "(:campaign, :id, 'explore', '[0]', 'finished', 'scored', :score, :now, :now)"
    ),
    "documents (kind, ref_id, campaign_id, text)": "('motivation', :id, :campaign, :text)",
    "archive_queue": "(:campaign, :id)",
}


async def pour(memory: Memory, tx: Transaction, count: int) -> None:
    """Scored nodes, many at a time."""
    rows: list[dict[str, object]] = []
    for _ in range(count):
        memory.newest += 1
        memory.count += 1
        code = memory.code()
        rows.append(
            {
                "id": memory.newest,
                "campaign": memory.campaign,
                "name": memory.text(4),
                "score": round(memory.random.random(), 3),
                "bytes": len(code),
                "fingerprint": str(hash(code)),
                "now": time.time(),
                "ordinal": memory.newest,
                "text": memory.text(40),
                "code": code,
                "parent": memory.random.randint(1, memory.newest - 1),
            }
        )
    for table, values in BULK.items():
        await tx.many(f"INSERT INTO {table} VALUES {values}", rows)  # pyright: ignore[reportArgumentType]
    await tx.execute("UPDATE campaigns SET experiments = experiments + ?", (count,))


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


async def run(sizes: list[int], rounds: int, folder: Path) -> dict[int, dict[str, list[float]]]:
    """Size to call to CPU ms."""
    taken: dict[int, dict[str, list[float]]] = {}
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
                settings=CampaignSettings(sampler="map_elites", budget=Budget(experiments=1_000_000)),
            )
        memory, floor = Memory(workspace, campaign), Floor(folder / "floor.db")
        calls: dict[str, Callable[[], Awaitable[None]]] = {
            "floor: one INSERT, plain SQLite": floor.insert,
            "add node + experiment": memory.add,
            "score it, into the archive": memory.score,
            "record analysis, 2 lessons": memory.analyse,
            "sample ucb1": memory.sample("ucb1"),
            "sample greedy": memory.sample("greedy"),
            "sample random": memory.sample("random"),
            "sample map_elites": memory.sample("map_elites"),
            "leaderboard, 10 of all": memory.leaderboard,
            "search cognition + lessons by words": memory.search,
        }
        for size in sizes:
            begin = time.perf_counter()
            await fill(memory, size)
            stored = time.perf_counter()
            while await appraisal.catch_up(workspace.database, campaign, FORM, limit=2000):
                pass
            built = time.perf_counter()
            print(
                f"{size:,} nodes: filled in {stored - begin:.0f} s, archive caught up in {built - stored:.0f} s",
                file=sys.stderr,
            )
            both = await in_turns(calls, rounds)
            taken[size] = {name: [cpu for cpu, _ in values] for name, values in both.items()}
            taken[size]["open the workspace"] = [
                cpu for cpu, _ in await opening(folder / "workspace", max(rounds // 10, 5))
            ]
    return taken


def peers(python: str, sizes: list[int], rounds: int, folder: Path) -> dict[str, dict[int, list[float] | str]]:
    """Call of a peer to size to CPU ms, or to why there are none."""
    script = Path(__file__).with_name("memory_peers.py")
    command = [python, script, folder, rounds, PEER_SECONDS, *sizes]
    found: dict[str, dict[int, list[float] | str]] = {}
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            told = json.loads(line)
            for call in ("add", "sample"):
                values = told.get(call, told.get("reason"))
                found.setdefault(f"{told['peer']}: {call}", {})[told["nodes"]] = values
                print(f"{told['peer']} {call} at {told['nodes']:,}: {shown(values)}", file=sys.stderr)
    return found


def shown(values: list[float] | str | None) -> str:
    if values is None or isinstance(values, str):
        return values or "the process died"
    return f"{statistics.median(values):.2f} ({quantile(values, 0.95):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[5000], help="nodes in the campaign (default 5000)")
    parser.add_argument("--rounds", type=int, default=200, help="calls of each kind (default 200)")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has openevolve and shinka-evolve")
    parser.add_argument("--folder", type=Path, help="where to put the files; default: the temporary folder")
    options = parser.parse_args()
    console, sizes = Console(width=max(120, Console().width)), sorted(options.nodes)
    console.print(machine(), highlight=False)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="asi-evolve-benchmark-") as folder:
        ours = asyncio.run(run(sizes, options.rounds, Path(folder)))
        others = peers(options.peers, sizes, options.rounds, Path(folder)) if options.peers else {}
    table = Table(title=f"CPU ms per call, median (p95) of {options.rounds} calls; nodes of {CODE_BYTES:,} bytes")
    table.add_column("call")
    for size in sizes:
        table.add_column(f"{size:,} nodes", justify="right")
    for name in ours[sizes[0]]:
        table.add_row(name, *(shown(ours[size][name]) for size in sizes))
    for name, by_size in others.items():
        table.add_row(name, *(shown(by_size.get(size)) for size in sizes))
    console.print(table)


if __name__ == "__main__":
    main()
