"""How well a question finds the knowledge that answers it: by words, by meaning, and by both rankings fused.

The corpus is the cognition of circle packing and benchmarks/retrieval/*.yaml, 224 items; the questions are 60 symptoms
in other words than the items that answer them. Everything goes through `DocumentSearch` on a real workspace. Intervals
are 95 % percentile intervals of a bootstrap over the questions (10,000 draws), paired where methods are compared.

    python benchmarks/retrieval.py
    python benchmarks/retrieval.py --thresholds --diversity --misses
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from asi_evolve.database import cognition
from asi_evolve.database.search.documents import DocumentSearch, SearchMode
from asi_evolve.database.search.embedders.choice import EmbedderOptions, make_embedder
from asi_evolve.database.workspace import Workspace, open_workspace
from asi_evolve.domains.cognition_file import SeedCognition, read_items
from asi_evolve.domains.loader import find_domain
from asi_evolve.evolution.models import CognitionOrigin
from rich.console import Console
from rich.table import Table

DATA = Path(__file__).parent / "retrieval"
DRAWS = 10_000
METHODS: tuple[SearchMode, ...] = ("lexical", "vector", "hybrid")
DIVERSITIES = (0.0, 0.1, 0.2, 0.3, 0.5)
GOAL = 0.15


@dataclass(frozen=True)
class Question:
    """A question and the titles of the items that answer it."""

    text: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """The titles that a method found for a question, best first, with their scores."""

    titles: list[str]
    scores: list[float]


def corpus() -> list[SeedCognition]:
    """Every item, each title once."""
    own = [path for path in sorted(DATA.glob("*.yaml")) if path.name != "questions.yaml"]
    items = [*find_domain("circle_packing").cognition(), *(item for path in own for item in read_items(path))]
    assert len({item.title for item in items}) == len(items), "a title is there twice"
    return items


def questions(items: Sequence[SeedCognition]) -> list[Question]:
    """The questions, each with targets that exist."""
    titles = {item.title for item in items}
    loaded = yaml.safe_load((DATA / "questions.yaml").read_text(encoding="utf-8"))
    asked = [Question(entry["question"], tuple(entry["targets"])) for entry in loaded]
    missing = {target for question in asked for target in question.targets} - titles
    assert not missing, f"no such items: {missing}"
    return asked


async def fill(workspace: Workspace, items: Sequence[SeedCognition]) -> dict[int, str]:
    """Store the corpus; number to title."""
    async with workspace.transaction() as tx:
        stored = [
            await cognition.add(tx, cognition.NewItem.of(item.knowledge, None, CognitionOrigin.SEED)) for item in items
        ]
    assert all(is_new for _, is_new in stored)
    return {number: item.title for (number, _), item in zip(stored, items, strict=True)}


async def ranked(
    search: DocumentSearch,
    titles: Mapping[int, str],
    asked: Sequence[Question],
    limit: int | None = None,
    diversity: float = 0.0,
) -> list[Ranking]:
    """The whole corpus, or the best of it, in the order of a method, for each question."""
    rankings: list[Ranking] = []
    for question in asked:
        found = await search.find(question.text, "cognition", limit=limit or len(titles), diversity=diversity)
        rankings.append(Ranking([titles[hit.ref_id] for hit in found.hits], [hit.score for hit in found.hits]))
    return rankings


def measures(asked: Sequence[Question], rankings: Sequence[Ranking]) -> dict[str, np.ndarray]:
    """For each question: whether a target is first, whether one is among five, and one over the first one's rank."""
    ranks = np.array(
        [
            next((place for place, title in enumerate(found.titles, start=1) if title in question.targets), np.inf)
            for question, found in zip(asked, rankings, strict=True)
        ]
    )
    return {"recall@1": (ranks <= 1) * 1.0, "recall@5": (ranks <= 5) * 1.0, "MRR": 1 / ranks}


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """(mean, lower, upper) of a bootstrap over the questions, the same draws for every method."""
    draws = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    means = values[draws].mean(axis=1)
    return float(values.mean()), *(float(bound) for bound in np.percentile(means, [2.5, 97.5]))


def shown(values: np.ndarray, sign: str = "") -> str:
    mean, lower, upper = interval(values)
    return f"{mean:{sign}.3f} [{lower:{sign}.3f}, {upper:{sign}.3f}]"


def print_methods(console: Console, asked: Sequence[Question], by_method: Mapping[str, Sequence[Ranking]]) -> None:
    """One line a method, and the paired differences to the words alone."""
    table = Table(title=f"{len(asked)} questions, mean [95 % interval]")
    table.add_column("method")
    for name in ("recall@1", "recall@5", "MRR"):
        table.add_column(name, justify="right")
    measured = {method: measures(asked, rankings) for method, rankings in by_method.items()}
    for method, values in measured.items():
        table.add_row(method, *(shown(value) for value in values.values()))
    console.print(table)
    for method in measured.keys() - {"lexical"}:
        difference = measured[method]["recall@5"] - measured["lexical"]["recall@5"]
        reached = "reached" if difference.mean() >= GOAL else "missed"
        console.print(f"recall@5, {method} - lexical: {shown(difference, '+')}; goal +{GOAL:.2f} {reached}")
    best = max(measured, key=lambda method: (measured[method]["recall@5"].mean(), measured[method]["MRR"].mean()))
    console.print(f"Wins by recall@5, then MRR: {best}.")


def print_thresholds(console: Console, asked: Sequence[Question], rankings: Sequence[Ranking]) -> None:
    """Of the best five: how many right ones a bound on the similarity keeps, and how many wrong ones it leaves."""
    table = Table(title="A bound on the cosine similarity of the best five")
    for name in ("bound", "right kept", "wrong kept", "questions with a right one", "questions with nothing"):
        table.add_column(name, justify="right")
    top = [
        [(score, title in question.targets) for title, score in zip(found.titles[:5], found.scores[:5], strict=True)]
        for question, found in zip(asked, rankings, strict=True)
    ]
    every = [hit for hits in top for hit in hits]
    for bound in (-1.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5):
        kept = [[right for score, right in hits if score >= bound] for hits in top]
        rights = sum(sum(hits) for hits in kept)
        wrongs = sum(len(hits) - sum(hits) for hits in kept)
        table.add_row(
            f"{bound:.2f}" if bound >= 0 else "none",
            f"{rights} of {sum(right for _, right in every)}",
            f"{wrongs} of {sum(not right for _, right in every)}",
            str(sum(any(hits) for hits in kept)),
            str(sum(not hits for hits in kept)),
        )
    console.print(table)


async def every_ranking(
    items: Sequence[SeedCognition], asked: Sequence[Question], diversities: Sequence[float]
) -> tuple[dict[str, list[Ranking]], dict[float, list[Ranking]]]:
    """(the whole ranking of each method, the best five by meaning at each diversity), on one workspace."""
    embedder = make_embedder(EmbedderOptions("minilm"))
    assert embedder is not None
    with tempfile.TemporaryDirectory() as folder:
        async with open_workspace(Path(folder) / "workspace") as workspace:
            titles = await fill(workspace, items)
            rankings: dict[str, list[Ranking]] = {}
            for method in METHODS:
                search = DocumentSearch(workspace.database, embedder, method)
                await search.catch_up()
                rankings["minilm" if method == "vector" else method] = await ranked(search, titles, asked)
                await search.close()
            search = DocumentSearch(workspace.database, embedder)
            await search.catch_up()
            diverse = {share: await ranked(search, titles, asked, limit=5, diversity=share) for share in diversities}
            await search.close()
            return rankings, diverse


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--thresholds", action="store_true", help="what a bound on the similarity keeps and loses")
    arguments.add_argument("--diversity", action="store_true", help="what unlike answers cost in recall")
    arguments.add_argument("--misses", action="store_true", help="the questions that minilm does not answer in five")
    chosen = arguments.parse_args()
    console = Console(width=120)
    items = corpus()
    asked = questions(items)
    rankings, diverse = asyncio.run(every_ranking(items, asked, DIVERSITIES if chosen.diversity else ()))
    console.print(f"{len(items)} items, {len(asked)} questions")
    print_methods(console, asked, rankings)
    if chosen.thresholds:
        print_thresholds(console, asked, rankings["minilm"])
    for share, found in diverse.items():
        console.print(f"minilm, diversity {share}: recall@5 {shown(measures(asked, found)['recall@5'])}")
    if chosen.misses:
        print_misses(console, asked, rankings["minilm"])


def print_misses(console: Console, asked: Sequence[Question], rankings: Sequence[Ranking]) -> None:
    """What was asked, what should have come and what came first."""
    for question, found in zip(asked, rankings, strict=True):
        if not set(question.targets) & set(found.titles[:5]):
            place = min(found.titles.index(target) + 1 for target in question.targets)
            console.print(f"- {question.text}\n  wanted {question.targets[0]} (place {place}), got {found.titles[0]}")


if __name__ == "__main__":
    main()
