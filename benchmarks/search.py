"""What a search costs at a given number of cognition items and nodes: by words and by meaning, next to a plain query.

The baseline by words is the query that joins the text index with the documents to filter them, with every word of the
question. All are asked the same questions in turns, in the same run, so that a busy machine slows all alike. The
embedder is a stand-in that gives pseudo-random unit vectors of length 384: what a real encoder takes for a query comes
on top. CPU time is that of this process, worker threads included.

    python benchmarks/search.py --texts 100000
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import statistics
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from asi_evolve.database.search import documents
from asi_evolve.database.search.documents import DocumentSearch
from asi_evolve.database.search.scope import DocumentKind
from asi_evolve.database.workspace import Workspace, open_workspace
from memory import machine, quantile
from rich.console import Console
from rich.table import Table

DIMENSION = 384
CAMPAIGNS = 20
VOCABULARY = 50_000
# Word frequencies fall with their rank as in any language (Zipf), or every text would match every query.
WORDS = [f"w{rank:x}" for rank in range(1, VOCABULARY + 1)]
WEIGHTS = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))
BATCH = 5_000


class RandomUnitVectors:
    """The stand-in: equal texts get equal vectors, and nothing else is alike."""

    fingerprint = "random-384"
    dimension = DIMENSION

    async def prepare(self) -> None:
        pass

    async def encode_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSION).tolist() for text in texts]

    async def encode_queries(self, texts: Sequence[str]) -> list[list[float]]:
        return await self.encode_documents(texts)


class Question(NamedTuple):
    """A kind of search: what is asked for, where, and in how many words."""

    kind: DocumentKind
    words: int
    campaigns: list[int] | None = None
    domain: str | None = None

    def __str__(self) -> str:
        place = (
            "all" if not (self.campaigns or self.domain) else self.domain or f"{len(self.campaigns or [])} campaigns"
        )
        return f"{self.kind}, {place}, {self.words} words"


QUESTIONS = [
    Question("cognition", 12, domain="circle_packing"),
    Question("cognition", 60, domain="circle_packing"),
    Question("motivation", 12),
    Question("motivation", 60),
    Question("motivation", 12, campaigns=[3]),
    Question("motivation", 60, campaigns=[3, 5, 7, 9]),
]


class Library:
    """A workspace full of texts, and the ways to search it."""

    def __init__(self, workspace: Workspace, seed: int) -> None:
        self.workspace = workspace
        self.random = random.Random(seed)
        self.lexical = DocumentSearch(workspace.database, None)

    def text(self, words: int) -> str:
        return " ".join(self.random.choices(WORDS, cum_weights=WEIGHTS, k=words))

    async def fill(self, count: int) -> None:
        for start in range(1, count + 1, BATCH):
            async with self.workspace.transaction() as tx:
                for number in range(start, min(start + BATCH, count + 1)):
                    await documents.put(tx, "cognition", number, self.text(150), domain="circle_packing")
                    campaign = number % CAMPAIGNS + 1
                    await documents.put(tx, "motivation", number, self.text(40), campaign_id=campaign)
        async with self.workspace.transaction() as tx:
            await tx.execute(
                "CREATE VIRTUAL TABLE plain_fts USING fts5 (text, content = 'documents', content_rowid = 'id',"
                " tokenize = 'porter unicode61 remove_diacritics 2')"
            )
            await tx.execute("INSERT INTO plain_fts (plain_fts) VALUES ('rebuild')")

    async def joined(self, query: str, question: Question) -> None:
        """The plain query: every word, and the filter after the ranking."""
        words = " OR ".join(f'"{word}"' for word in dict.fromkeys(query.split()))
        campaigns = ", ".join(map(str, question.campaigns or []))
        await self.workspace.read.all(
            "SELECT d.ref_id, -bm25(plain_fts) AS score FROM plain_fts JOIN documents AS d ON d.id = plain_fts.rowid"
            " WHERE plain_fts MATCH ? AND d.kind = ?"
            + (f" AND d.campaign_id IN ({campaigns})" if campaigns else "")
            + " AND (?3 IS NULL OR d.domain = ?3 OR d.domain IS NULL) ORDER BY score DESC, d.id LIMIT 5",
            (words, question.kind, question.domain),
        )

    async def by_words(self, query: str, question: Question) -> None:
        await self.lexical.find(query, question.kind, campaigns=question.campaigns, domain=question.domain)

    async def by_meaning(self, query: str, question: Question, diversity: float = 0.0) -> None:
        found = await self.workspace.documents.find(
            query, question.kind, campaigns=question.campaigns, domain=question.domain, diversity=diversity
        )
        if found.method != RandomUnitVectors.fingerprint or len(found.hits) != 5:
            raise RuntimeError(f"the search was not by meaning: {found.method}, {len(found.hits)} hits")

    async def diverse(self, query: str, question: Question) -> None:
        await self.by_meaning(query, question, diversity=0.5)


async def timed(
    call: Callable[[str, Question], Awaitable[None]], query: str, question: Question
) -> tuple[float, float]:
    """(CPU ms, wall ms) of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    await call(query, question)
    return (time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3


async def measured(library: Library, question: Question, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """The ways in turns, each round with a new query. The plain one is slow: it is asked in every fourth round."""
    ways: dict[str, Callable[[str, Question], Awaitable[None]]] = {
        "join (baseline)": library.joined,
        "words": library.by_words,
        "meaning": library.by_meaning,
        "meaning, diverse": library.diverse,
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for round_ in range(rounds):
        query = library.text(question.words)
        for name, call in ways.items():
            if name in ("words", "meaning") or round_ % 4 == 0:
                taken[name].append(await timed(call, query, question))
    return taken


def resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def filled(library: Library, texts: int, console: Console) -> None:
    begin = time.perf_counter()
    if not await library.workspace.read.value("SELECT count(*) FROM documents"):
        await library.fill(texts)
    stored = await library.workspace.read.value("SELECT count(*) FROM documents")
    console.print(f"{stored:,} texts stored in {time.perf_counter() - begin:.0f} s", highlight=False)
    begin = time.perf_counter()
    await library.workspace.documents.catch_up()
    console.print(
        f"embedded (stand-in) and stored in {time.perf_counter() - begin:.0f} s; peak {resident_mb():.0f} MB resident",
        highlight=False,
    )
    for question in QUESTIONS[0], QUESTIONS[2]:
        _, wall = await timed(library.by_meaning, library.text(12), question)
        console.print(f"first search in {question.kind}: {wall:.0f} ms; {resident_mb():.0f} MB", highlight=False)


async def encoding(library: Library, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """What the stand-in takes of each search by meaning."""

    async def encode(query: str, _: Question) -> None:
        await RandomUnitVectors().encode_queries([query])

    return {"stand-in encoder": [await timed(encode, library.text(12), QUESTIONS[0]) for _ in range(rounds)]}


async def run(texts: int, rounds: int, root: Path) -> None:
    console = Console(width=max(110, Console().width))
    console.print(machine(), highlight=False)
    async with open_workspace(root, RandomUnitVectors()) as workspace:
        library = Library(workspace, time.time_ns())
        await filled(library, texts, console)
        table = Table(title=f"{texts:,} cognition items, {texts:,} motivations; milliseconds over {rounds} rounds")
        for heading in ("search", "way", "wall p50", "wall p95", "CPU p50", "CPU p95"):
            table.add_column(heading, justify="left" if heading in ("search", "way") else "right")
        for question in QUESTIONS:
            for name, values in (await measured(library, question, rounds)).items():
                add_row(table, str(question), name, values)
        for name, values in (await encoding(library, rounds)).items():
            add_row(table, "", name, values)
        console.print(table)


def add_row(table: Table, search: str, way: str, values: Sequence[tuple[float, float]]) -> None:
    cpus, walls = [cpu for cpu, _ in values], [wall for _, wall in values]
    figures = (statistics.median(walls), quantile(walls, 0.95), statistics.median(cpus), quantile(cpus, 0.95))
    table.add_row(search, way, *(f"{figure:.1f}" for figure in figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=100_000, help="cognition items, and as many motivations")
    parser.add_argument("--rounds", type=int, default=40, help="queries of each kind (default 40)")
    parser.add_argument("--folder", type=Path, help="where to put the files; default: the temporary folder")
    parser.add_argument("--workspace", type=Path, help="use and keep this workspace; it is filled where it is empty")
    options = parser.parse_args()
    if options.workspace is not None:
        asyncio.run(run(options.texts, options.rounds, options.workspace))
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="asi-evolve-benchmark-") as folder:
        asyncio.run(run(options.texts, options.rounds, Path(folder) / "workspace"))


if __name__ == "__main__":
    main()
