"""What it costs to tell whether a candidate is new: CPU milliseconds per call at a given number of nodes.

The candidates are the last programs of the demo (about 8 kB): one that is new, one with another number, and one with
another operator, whose motivation decides. Every node has the outline of one of the demo's programs and a sketch of its
own, some bits away from that program's.

    python benchmarks/novelty.py --nodes 5000 100000
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from asi_evolve.database import campaigns
from asi_evolve.database.connection import Transaction
from asi_evolve.database.workspace import Workspace, open_workspace
from asi_evolve.domains.loader import find_domain
from asi_evolve.evolution.edits import apply_edits, parse_edits
from asi_evolve.evolution.models import Campaign, CampaignSettings
from asi_evolve.evolution.novelty.fingerprint import fingerprint, parsed
from asi_evolve.evolution.novelty.likeness import Profile
from asi_evolve.evolution.novelty.outline import outline_of
from asi_evolve.evolution.novelty.sketch import BITS
from asi_evolve.server.demo.script import rounds
from asi_evolve.tools import novelty
from asi_evolve.tools.candidates import Candidate
from rich.console import Console
from rich.table import Table

DOMAIN = find_domain("circle_packing")
INTERFACE = DOMAIN.spec.candidate.must_define
ENTRY = DOMAIN.spec.candidate.entry
FLIPPED = 60
"""Bits of a sketch that differ between a node and the program whose outline it has."""
WORDS = [f"w{rank:x}" for rank in range(1, 3001)]


def demo_programs() -> dict[str, str]:
    programs = {"baseline": DOMAIN.baseline[ENTRY]}
    for entry in rounds():
        programs[entry.name] = (
            entry.text()
            if entry.form == "code"
            else apply_edits({ENTRY: programs[entry.parent]}, parse_edits(entry.text()))[ENTRY]
        )
    return programs


def candidate(code: str, motivation: str) -> Candidate:
    files = {ENTRY: code}
    trees = parsed(files)
    profile = Profile(outline_of(files, INTERFACE, trees=trees))
    return Candidate(files, fingerprint(files, trees=trees), profile, [], [], "benchmark", motivation)


class Crowd:
    """A campaign with many nodes."""

    def __init__(self, workspace: Workspace, campaign: Campaign) -> None:
        self.workspace = workspace
        self.campaign = campaign
        self.random = random.Random(0)
        self.programs = demo_programs()

    async def fill(self, count: int) -> None:
        profiles = [Profile(outline_of({ENTRY: code}, INTERFACE)) for code in self.programs.values()]
        packed = [(profile.outline.packed(), int.from_bytes(profile.sketch, "little")) for profile in profiles]
        for start in range(0, count, 1000):
            async with self.workspace.transaction() as tx:
                await self._add(tx, range(start + 1, min(start + 1000, count) + 1), packed)

    async def _add(self, tx: Transaction, numbers: Sequence[int], packed: Sequence[tuple[bytes, int]]) -> None:
        """As nodes.add, but many at once."""
        own = [(number, *packed[number % len(packed)]) for number in numbers]
        texts = [" ".join(self.random.choices(WORDS, k=40)) for _ in numbers]
        await tx.many(
            "INSERT INTO nodes (id, campaign_id, name, is_baseline, status, code_bytes, fingerprint, canonical,"
            " created_at) VALUES (?, ?, 'a node', 0, 'queued', 8000, ?, ?, 0)",
            [(number, self.campaign.id, f"f{number}", f"c{number}") for number in numbers],
        )
        await tx.many(
            "INSERT INTO node_texts (node_id, motivation) VALUES (?, ?)", list(zip(numbers, texts, strict=True))
        )
        await tx.many(
            "INSERT INTO documents (kind, ref_id, campaign_id, text) VALUES ('motivation', ?, ?, ?)",
            [(number, self.campaign.id, text) for number, text in zip(numbers, texts, strict=True)],
        )
        await tx.many(
            "INSERT INTO node_outlines (node_id, body) VALUES (?, ?)", [(number, body) for number, body, _ in own]
        )
        await tx.many(
            "INSERT INTO node_sketches (node_id, sketch, campaign) VALUES (?, vec_bit(?), ?)",
            [(number, self._moved(sketch), self.campaign.id) for number, _, sketch in own],
        )

    def _moved(self, sketch: int) -> bytes:
        for bit in self.random.sample(range(BITS), FLIPPED):
            sketch ^= 1 << bit
        return sketch.to_bytes(BITS // 8, "little")

    def search(self, code: str) -> Callable[[], Awaitable[int]]:
        """As run_experiment does before it takes the write lock; the sketch is worked out anew."""
        base = candidate(code, " ".join(self.random.choices(WORDS, k=40)))

        async def call() -> int:
            fresh = Candidate(**{**vars(base), "profile": Profile(base.profile.outline)})
            return len((await novelty.search(self.workspace, self.campaign, fresh, INTERFACE)).near)

        return call

    async def judge(self, code: str, rounds_: int) -> list[float]:
        """CPU of what run_experiment does of it while it holds the write lock."""
        subject = candidate(code, "m")
        seen = await novelty.search(self.workspace, self.campaign, subject, INTERFACE)
        taken: list[float] = []
        for _ in range(rounds_):
            async with self.workspace.transaction() as tx:
                begin = time.process_time()
                await novelty.judged(tx, self.campaign, "allow", subject, seen)
                taken.append((time.process_time() - begin) * 1e3)
        return taken


async def timed(call: Callable[[], Awaitable[object]], rounds_: int) -> list[float]:
    taken: list[float] = []
    for _ in range(rounds_):
        begin = time.process_time()
        await call()
        taken.append((time.process_time() - begin) * 1e3)
    return taken


async def measure(count: int, rounds_: int, folder: Path) -> dict[str, list[float]]:
    async with open_workspace(folder) as workspace:
        async with workspace.transaction() as tx:
            number = await campaigns.add(
                tx,
                name="benchmark",
                goal="",
                program=None,
                domain="circle_packing",
                domain_name="circle_packing",
                domain_version="1",
                instance=None,
                settings=CampaignSettings(),
            )
        crowd = Crowd(workspace, await campaigns.get(workspace.read, number))
        await crowd.fill(count)
        last = crowd.programs["polished"]
        new = f"{last}\n\ndef extra(z):\n    return np.fft.fft(z) @ np.linalg.pinv(z)\n\n\nextra(np.eye(3))\n"

        async def outline() -> None:
            outline_of({ENTRY: last}, INTERFACE, trees=trees)

        trees = parsed({ENTRY: last})
        return {
            f"outline of {len(last)} bytes, parsed": await timed(outline, rounds_),
            "search: a new program": await timed(crowd.search(new), rounds_),
            "search: another number": await timed(crowd.search(last.replace("HOPS = 50", "HOPS = 51")), rounds_),
            "search: another operator": await timed(crowd.search(last.replace("gain > 0", "gain >= 0")), rounds_),
            "under the write lock": await crowd.judge(new, rounds_),
        }


async def run(counts: list[int], rounds_: int, parent: Path | None) -> None:
    console = Console()
    for count in counts:
        with tempfile.TemporaryDirectory(dir=parent, prefix="asi-evolve-novelty-") as folder:
            taken = await measure(count, rounds_, Path(folder))
        table = Table("call", "CPU median", "CPU p95", title=f"{count:,} nodes; milliseconds over {rounds_} rounds")
        for name, values in taken.items():
            p95 = sorted(values)[int(0.95 * len(values))]
            table.add_row(name, f"{statistics.median(values):.2f}", f"{p95:.2f}")
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[5000], help="nodes in the campaign (default 5000)")
    parser.add_argument("--rounds", type=int, default=50, help="calls of each kind (default 50)")
    parser.add_argument("--folder", type=Path, help="where to put the files; default: the temporary folder")
    options = parser.parse_args()
    asyncio.run(run(options.nodes, options.rounds, options.folder))


if __name__ == "__main__":
    main()
