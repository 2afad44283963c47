"""A stage on a real model, as harness.py calls it: one run of training, its progress, out/runs.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from training.algorithm import Algorithm
from training.runs import Report

from real.missing import check_packages, expect_files
from real.settings import Settings

SEEDS_APART = 1000
"""As on the bed: between the inner seeds of two seeds of the stage."""


def prepare(job: Path, params: Mapping[str, Any]) -> Settings:
    """The settings of the stage, once it is known that nothing is missing; cheap, so it can come first.

    Raises:
        SystemExit: packages, model or problems are missing, or a setting will not do; it says what to do.
    """
    check_packages()
    expect_files(job / "train")
    try:
        return Settings.read(params["parameters"])
    except ValueError as error:
        raise SystemExit(f"Expected parameters of stage {params['stage']} that go together, but: {error}") from error


def run(job: Path, params: Mapping[str, Any], settings: Settings, algorithm: Algorithm) -> None:
    """Train once with the seed of the job, and leave runs.json.

    Raises:
        SystemExit: model or problems cannot be used; it says what to do.
        channel.CandidateFault: the candidate's fault.
    """
    from real import verify  # imports transformers and trl, which the bed does without

    report = Report(params["stage"], params["seed"])
    seed = params["seed"] * SEEDS_APART + int(params["parameters"].get("first_seed", 0))
    with (job / "out" / "progress.jsonl").open("a", encoding="utf-8") as stream:
        report.runs.append(verify.train(job / "train", algorithm, settings, seed, teller(stream)))
    report.count(algorithm)
    report.write(job / "out")


def teller(stream: TextIO) -> Callable[[dict[str, float]], None]:
    """Writes lines of progress."""

    def tell(line: dict[str, float]) -> None:
        stream.write(json.dumps(line) + "\n")
        stream.flush()

    return tell
