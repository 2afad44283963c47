"""How far experiments are, in words for a person who waits and in a short table for an agent that looks back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..database import experiments, nodes, progress
from ..database.progress import Told
from ..database.workspace import Workspace
from ..evolution.ids import short_id
from ..evolution.models import Experiment
from ..evolution.outcomes import ExperimentStatus, Outcome
from ..evolution.progress import Point, Progress, thinned
from ..evolution.text import excerpt
from .answers import experiment_line, node_score_fields, without_none

ROWS_IN_SUMMARY = 8
COLUMNS_IN_SUMMARY = 4
VALUES_IN_WORDS = 3
NOTES_IN_SUMMARY = 3
STALE_AFTER_S = 10.0
PLACES = ("percent", "step", "seconds")


async def experiment_lines(
    workspace: Workspace, found: Sequence[Experiment], reason_limit: int = 1200
) -> list[dict[str, Any]]:
    """Experiments in a list, those that run with what they told last."""
    told = await latest(workspace, found)
    scored = {entry.node_id: None for entry in found if entry.outcome is Outcome.SCORED}
    scores = {node.id: node_score_fields(node) for node in await nodes.many(workspace.read, list(scored))}
    return [
        experiment_line(entry, reason_limit)
        | (scores[entry.node_id] if entry.outcome is Outcome.SCORED else {})
        | ({"progress": status_words(told[entry.id])} if entry.id in told else {})
        for entry in found
    ]


async def latest(workspace: Workspace, found: Sequence[Experiment]) -> dict[int, Told]:
    """What those of some experiments that are not finished told last."""
    unfinished = [entry.id for entry in found if entry.status is not ExperimentStatus.FINISHED]
    return await progress.latest(workspace.read, unfinished) if unfinished else {}


async def whereabouts(workspace: Workspace, found: Sequence[Experiment]) -> tuple[float, str]:
    """How many of some experiments are done, with the parts of those under way, and where the first of them are."""
    told = await latest(workspace, found)
    settled = await experiments.runs_at_target(workspace.read, [entry.id for entry in found])
    done = sum(_part_done(entry, settled.get(entry.id, 0), told.get(entry.id)) for entry in found)
    return done, "; ".join(_state(entry, told.get(entry.id)) for entry in found[:5])


def _part_done(experiment: Experiment, settled: int, told: Told | None) -> float:
    """The share of the runs at the stage that it aims at; the cheaper stages before count for nothing."""
    if experiment.status is ExperimentStatus.FINISHED:
        return 1.0
    at_target = told is not None and told.stage == experiment.stage
    share = told.point.share if told is not None and at_target else None
    return min((settled + (share or 0.0)) / len(experiment.seeds), 1.0)


def _state(experiment: Experiment, told: Told | None) -> str:
    held = experiment.status is ExperimentStatus.QUARANTINED
    place = experiment.status if held else experiment.current_stage or experiment.status
    words = f"{short_id('e', experiment.id)} {place}"
    return f"{words} {point_words(told.point)}".strip() if told is not None else words


def point_words(point: Point) -> str:
    """A point as a person reads it: `34 %, step 680, loss 1.93`."""
    parts = [f"{100 * point.share:.0f} %"] if point.share is not None else []
    parts += [f"step {point.step:.10g}"] if point.step is not None else []
    parts += [f"{name} not finite" for name in point.non_finite[:VALUES_IN_WORDS]]
    parts += [f"{name} {value:.4g}" for name, value in point.values.items()][:VALUES_IN_WORDS]
    return ", ".join(parts)


def status_words(told: Told) -> str:
    """Where a run is, and since when nothing has been heard of it where that is long."""
    silent = time.time() - told.told_at
    late = f" (told {silent:.0f} s ago)" if silent > STALE_AFTER_S else ""
    return f"seed {told.seed}: {point_words(told.point)}{late}"


def summary(told: Progress, experiment_id: int) -> dict[str, Any]:
    """A series in a few rows, and where the whole of it is."""
    return without_none(
        {
            "lines": told.lines,
            "broken_lines": told.broken or None,
            **table(thinned(told.points, ROWS_IN_SUMMARY), COLUMNS_IN_SUMMARY),
            "notes": [excerpt(note, 200) for note in told.notes[:NOTES_IN_SUMMARY]] or None,
            "all": f"evolve://experiments/{short_id('e', experiment_id)}/progress" if told.points else None,
        }
    )


def whole(told: Progress) -> dict[str, Any]:
    """Everything that is kept of a series."""
    return without_none(
        {
            "lines": told.lines,
            "broken_lines": told.broken or None,
            "skipped_bytes": told.skipped_bytes or None,
            "notes": list(told.notes) or None,
            **table(told.points),
        }
    )


def table(points: Sequence[Point], most: int | None = None) -> dict[str, Any]:
    """Points as rows: how far (percent, step or seconds, the first that all of them tell), then the values."""
    if not points:
        return {}
    names = list(dict.fromkeys(name for point in points for name in (*point.values, *point.non_finite)))[:most]
    told = {name for name in PLACES if all(_place(point, name) is not None for point in points)}
    place = next(name for name in PLACES if name in told)
    rows = [[_place(point, place), *(_cell(point, name) for name in names)] for point in points]
    return {"columns": [place, *names], "rows": rows}


def _place(point: Point, name: str) -> float | None:
    if name == "percent":
        return round(100 * point.share, 1) if point.share is not None else None
    return point.step if name == "step" else point.seconds


def _cell(point: Point, name: str) -> float | str | None:
    if name in point.non_finite:
        return "not finite"
    return float(f"{point.values[name]:.4g}") if name in point.values else None
