"""All runs of a stage: each regime with each seed, one after the other, and what is told while they run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bed.warm_start import warm_start

from training.algorithm import Algorithm
from training.loop import train
from training.regimes import KNOWN, Regime, regime
from training.runs import Report

SEEDS_PER_RUN = 3
SEEDS_APART = 1000
"""Between the inner seeds of two seeds of the stage."""


@dataclass(frozen=True)
class Settings:
    """What `params.json` asks for.

    Parameters: `regimes` (names with spaces between; all), `seeds_per_run` (3), `first_seed` (0), and those of
    regimes.py. Inner seeds are seed * 1000 + first_seed + k.
    """

    stage: str
    seed: int
    hidden_seed: int
    regimes: tuple[Regime, ...]
    inner_seeds: tuple[int, ...]

    @classmethod
    def read(cls, params: Mapping[str, Any]) -> Settings:
        """Of `params.json`. Raises ValueError for regimes that nobody knows."""
        given = params["parameters"]
        first = params["seed"] * SEEDS_APART + int(given.get("first_seed", 0))
        return cls(
            stage=params["stage"],
            seed=params["seed"],
            hidden_seed=int(params["hidden_seed"]),
            regimes=tuple(regime(name, given) for name in str(given.get("regimes", " ".join(KNOWN))).split()),
            inner_seeds=tuple(range(first, first + int(given.get("seeds_per_run", SEEDS_PER_RUN)))),
        )

    @property
    def all_steps(self) -> int:
        """Of all runs together."""
        return len(self.inner_seeds) * sum(one.steps for one in self.regimes)


class Progress:
    """out/progress.jsonl: a line a step, numbers alone. `run` counts the runs from 1."""

    def __init__(self, out: Path, of: int) -> None:
        self._path = out / "progress.jsonl"
        self._of = of

    def teller(self, run: int, steps_before: int) -> Callable[[int, dict[str, float]], None]:
        """For the steps of one run."""

        def tell(step: int, measurements: dict[str, float]) -> None:
            line = {"step": steps_before + step, "of": self._of, "run": run, **measurements}
            with self._path.open("a") as stream:
                stream.write(json.dumps(line) + "\n")

        return tell


def run_all(algorithm: Algorithm, settings: Settings, out: Path) -> Report:
    """Every run from the same weights; runs.json is written after each."""
    report = Report(settings.stage, settings.seed)
    progress = Progress(out, settings.all_steps)
    steps = 0
    for seed in settings.inner_seeds:
        for one in settings.regimes:
            tell = progress.teller(len(report.runs) + 1, steps)
            report.runs.append(train(warm_start(), algorithm, one, seed, tell, settings.hidden_seed))
            report.count(algorithm)
            report.write(out)
            steps += one.steps
    return report
