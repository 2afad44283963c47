"""What the trainer has left, read as data that may be anything: out/runs.json.

No candidate runs in the trainer's process, so the numbers are measurements and no claims; what a broken trainer leaves
is refused all the same. The file is what training/runs.py writes:

    {"format": 1, "stage": "explore", "seed": 0, "candidate_calls": 3000, "candidate_seconds": 7.5,
     "runs": [{"regime": "stress", "seed": 2, "steps": 30, "curve": [[0, 0.115], [5, 0.14], ..., [30, 0.31]],
               "pass_at_1": 0.31, "greedy": 0.33, "by_task": {"add": 0.2, "mod": 0.3, "sort": 0.4},
               "entropy": 0.6, "kl": 0.4, "clip_fraction": 0.1, "length": 5.0, "length_start": 5.3,
               "warm": {"pass_at_1": 0.115, "greedy": 0.13, "by_task": {...}, "entropy": 0.9, "kl": 0.0, "length": 5.3},
               "cpu_seconds": 6.6}, ...]}

Every number is finite, every share from 0 to 1, a curve begins at the warm start and ends at pass_at_1.
"""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = 1
LARGEST_FILE = 1_000_000
MOST_POINTS, MOST_TASKS = 1_000, 40
ROUNDING = 1e-6
"""Of shares that were measured twice."""

NUMBERS = {
    "entropy": (0.0, 100.0),
    "kl": (-1e-3, 1e4),
    "clip_fraction": (0.0, 1.0),
    "length": (0.0, 1e5),
    "length_start": (1e-9, 1e5),
    "cpu_seconds": (0.0, 1e7),
}
"""What a run can have measured."""

OF_THE_WARM_START = ("entropy", "kl", "length")
"""Numbers that are measured before training too."""


class Refusal(Exception):
    """The outputs cannot be scored; the message is the sentence for the Researcher."""


class Run(NamedTuple):
    """One regime with one inner seed."""

    regime: str
    seed: int
    steps: int
    curve: list[tuple[int, float]]
    """(steps done, pass@1), from 0 to the last step."""
    pass_at_1: float
    greedy: float
    by_task: dict[str, float]
    numbers: dict[str, float]
    """NUMBERS, as they came."""


class Report(NamedTuple):
    """A report of known form."""

    runs: list[Run]
    """Regimes in the order of the stage, seeds from the lowest up."""
    candidate_calls: int
    candidate_seconds: float


def read_runs(path: Path, stage: str, seed: int, regimes: list[str], seeds: list[int]) -> Report:
    """Each regime with each inner seed exactly once. Raises Refusal for whatever else the file is."""
    told = _json(path)
    for name, value in (("format", FORMAT), ("stage", stage), ("seed", seed)):
        if type(told.get(name)) is not type(value) or told[name] != value:
            raise Refusal(f"Expected {name} {value}, but got {_short(told.get(name))}.")
    runs = told.get("runs")
    wanted = [(regime, seed) for regime in regimes for seed in seeds]
    if not isinstance(runs, list) or len(runs) != len(wanted):
        raise Refusal(f"Expected a list of {len(wanted)} runs, but got {_short(runs)}.")
    read = {(run.regime, run.seed): run for run in map(_run, runs)}
    missing = [pair for pair in wanted if pair not in read]
    if missing:
        raise Refusal(f"Expected a run of {missing[0][0]} with seed {missing[0][1]}, but there is none.")
    if len({tuple(sorted(run.by_task)) for run in read.values()}) > 1:
        raise Refusal("Expected the same tasks in every run, but they differ.")
    calls = _number(told.get("candidate_calls"), "candidate_calls", 0, 1e12)
    seconds = _number(told.get("candidate_seconds"), "candidate_seconds", 0, 1e9)
    return Report([read[pair] for pair in wanted], int(calls), seconds)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        raise Refusal(f"Expected runs.json of at most {LARGEST_FILE} bytes.")
    try:
        told = json.loads(path.read_bytes(), parse_constant=_finite, parse_float=_finite, object_pairs_hook=_object_of)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"Expected JSON, but got {_short(error)}.") from error
    if not isinstance(told, dict):
        raise Refusal(f"Expected an object, but got {_short(told)}.")
    return told


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise Refusal(f"Expected finite numbers, but got {_short(text)}.")
    return float(text)


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refusal("Expected every key once, but one comes twice.")
    return dict(pairs)


def _run(value: Any) -> Run:
    if not isinstance(value, dict):
        raise Refusal(f"Expected runs that are objects, but got {_short(value)}.")
    regime, seed = value.get("regime"), value.get("seed")
    if not isinstance(regime, str) or type(seed) is not int:
        raise Refusal(f"Expected a run with a regime and a seed, but got {_short(regime)} and {_short(seed)}.")
    name = f"{_short(regime)} {_short(seed)}"
    steps = int(_number(value.get("steps"), f"steps of {name}", 1, 1e9, whole=True))
    warm = value.get("warm")
    if not isinstance(warm, dict):
        raise Refusal(f"Expected warm of {name} to be an object, but got {_short(warm)}.")
    start, end = _share(warm.get("pass_at_1"), f"warm.pass_at_1 of {name}"), _share(value.get("pass_at_1"), name)
    _share(warm.get("greedy"), f"warm.greedy of {name}")
    _tasks(warm.get("by_task"), f"the warm start of {name}", start)
    for key in OF_THE_WARM_START:
        _number(warm.get(key), f"warm.{key} of {name}", *NUMBERS[key])
    return Run(
        regime=regime,
        seed=seed,
        steps=steps,
        curve=_curve(value.get("curve"), name, steps, start, end),
        pass_at_1=end,
        greedy=_share(value.get("greedy"), f"greedy of {name}"),
        by_task=_tasks(value.get("by_task"), name, end),
        numbers={key: _number(value.get(key), f"{key} of {name}", *bounds) for key, bounds in NUMBERS.items()},
    )


def _curve(value: Any, name: str, steps: int, start: float, end: float) -> list[tuple[int, float]]:
    if not isinstance(value, list) or not 2 <= len(value) <= MOST_POINTS:
        raise Refusal(f"Expected a curve of {name} with 2 to {MOST_POINTS} points, but got {_short(value)}.")
    points = [_point(point, name, steps) for point in value]
    at = [step for step, _ in points]
    if at[0] != 0 or at[-1] != steps or any(later <= earlier for earlier, later in pairwise(at)):
        raise Refusal(f"Expected a curve of {name} from step 0 up to step {steps}, but got {_short(at)}.")
    for what, one, other in (("the warm start", points[0][1], start), ("pass_at_1", points[-1][1], end)):
        if abs(one - other) > ROUNDING:
            raise Refusal(f"Expected the curve of {name} to meet {what} at {other:g}, but it is at {one:g}.")
    return points


def _point(value: Any, name: str, steps: int) -> tuple[int, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise Refusal(f"Expected points [step, pass@1] in the curve of {name}, but got {_short(value)}.")
    step = _number(value[0], f"a step of {name}", 0, steps, whole=True)
    return int(step), _share(value[1], f"pass@1 of {name}")


def _tasks(value: Any, name: str, mean: float) -> dict[str, float]:
    if not isinstance(value, dict) or not 1 <= len(value) <= MOST_TASKS:
        raise Refusal(f"Expected by_task of {name} with 1 to {MOST_TASKS} tasks, but got {_short(value)}.")
    for task in value:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", task):
            raise Refusal(f"Expected names of tasks, but got {_short(task)}.")
    shares = {task: _share(share, f"{task} of {name}") for task, share in value.items()}
    if not min(shares.values()) - ROUNDING <= mean <= max(shares.values()) + ROUNDING:
        raise Refusal(f"Expected pass_at_1 of {name} among those of its tasks, but got {mean:g}.")
    return shares


def _share(value: Any, name: str) -> float:
    return _number(value, name, 0.0, 1.0)


def _number(value: Any, name: str, low: float, high: float, *, whole: bool = False) -> float:
    kinds = (int,) if whole else (int, float)
    if type(value) not in kinds or not low <= value <= high or not math.isfinite(value):
        kind = "an integer" if whole else "a number"
        raise Refusal(f"Expected {name} to be {kind} from {low:g} to {high:g}, but got {_short(value)}.")
    return float(value)


def _short(value: object) -> str:
    """A few printable characters of anything."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**20:
        return "a huge integer"
    if isinstance(value, (dict, list)) and len(value) > 12:
        return f"{type(value).__name__} of {len(value)}"
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())[:120]
