"""What nodes scored with which seeds: what comparisons between them are made of."""

from __future__ import annotations

from collections.abc import Sequence

from .connection import Reader
from .experiments import COUNTS

ByStage = dict[str, dict[int, float]]
"""Stage to seed to score, the stage that a node ran last at the end."""


async def scores(reader: Reader, node_ids: Sequence[int]) -> dict[int, ByStage]:
    """Every score that counts of some nodes; the latest run counts where a seed ran twice at a stage."""
    found: dict[int, ByStage] = {node_id: {} for node_id in node_ids}
    marks = ", ".join("?" * len(found))
    rows = await reader.all(
        "SELECT e.node_id, v.stage, v.seed, v.score FROM experiments AS e"
        " JOIN evaluations AS v ON v.experiment_id = e.id"
        f" WHERE e.node_id IN ({marks}) AND v.score IS NOT NULL AND {COUNTS} ORDER BY v.id",
        list(found),
    )
    for row in rows:
        found[row["node_id"]].setdefault(row["stage"], {})[row["seed"]] = row["score"]
    return found


async def hidden(reader: Reader, node_ids: Sequence[int]) -> set[int]:
    """Seeds that were drawn to check scores of some nodes. No candidate may get to know them."""
    marks = ", ".join("?" * len(node_ids))
    rows = await reader.all(
        "SELECT seed.value AS seed FROM experiments AS e, json_each(e.quarantine_json, '$.seeds') AS seed"
        f" WHERE e.node_id IN ({marks}) AND e.quarantine_json IS NOT NULL",
        list(node_ids),
    )
    return {row["seed"] for row in rows}
