"""The reference mixers on the tasks of linear_attention: what each comes to, what it costs, and how much seeds differ.

    python benchmarks/linear_attention_references.py --seeds 3 [--stage explore] [--only deltanet softmax]

Each run is generator, harness, predict and evaluator as the Engineer starts them, one after the other, but without a
sandbox. What the checks would refuse is measured all the same (parameter `checks = "report"`): softmax attention is
quadratic, and without a mixer there is no memory. Prints a line per run and then a table of means and standard
deviations over seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
DOMAIN = ROOT / "domains" / "linear_attention"
REFERENCES = ROOT / "tests" / "domains" / "linear_attention" / "references"
NAMES = ("deltanet", "softmax", "gated_deltanet", "gla", "mamba2", "linear", "no_mixer")
FIGURES = (
    "recall_loss",
    "recall_accuracy",
    "overwrite_loss",
    "overwrite_accuracy",
    "lm_bpb",
    "cost_ratio",
    "cost_exponent",
    "cpu_seconds",
    "memory_mb",
)


class Run(NamedTuple):
    """What one candidate with one seed came to; `refusal` is empty where it was scored."""

    metrics: dict[str, float]
    refusal: str
    cpu_seconds: float
    memory_mb: float


def program_of(name: str) -> Path:
    """The file of a reference mixer."""
    return DOMAIN / "baseline" / "mixer.py" if name == "deltanet" else REFERENCES / f"{name}.py"


def parameters_of(stage: str, instance: str = "default") -> dict[str, Any]:
    """As params.json has them."""
    domain = tomllib.loads((DOMAIN / "domain.toml").read_text())
    found = next(one for one in domain["stages"] if one["name"] == stage)
    return {**domain["instances"][instance], **found.get("parameters", {})}


def run(program: Path, stage: str, seed: int, instance: str = "default", **changed: Any) -> Run:
    """One experiment; parameters that are `changed` are taken instead of the stage's."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder)
        _prepare(job, program, stage, seed, instance, changed)
        cpu = memory = 0.0
        for script in ("generator.py", "harness.py", "predict.py", "evaluator.py"):
            usage = _start(job, script)
            cpu += usage.ru_utime + usage.ru_stime
            memory = max(memory, usage.ru_maxrss / 1024)
            _hand_on(job, script)
        parts = json.loads((job / "outputs" / "report.json").read_text()).get("cpu_seconds")
        print(program.stem, seed, "CPU seconds of the fit:", parts, flush=True)
        told = json.loads((job / "result" / "metrics.json").read_text())
        return Run(told.get("metrics", {}), told.get("invalid", ""), cpu, memory)


def _prepare(job: Path, program: Path, stage: str, seed: int, instance: str, changed: dict[str, Any]) -> None:
    for name in ("candidate", "out", "checkpoint", "outputs", "result"):
        (job / name).mkdir()
    shutil.copy(program, job / "candidate" / "mixer.py")
    params = {
        "stage": stage,
        "seed": seed,
        "instance": instance,
        "entry": "mixer.py",
        "parameters": {**parameters_of(stage, instance), **changed},
        "hidden_seed": 10_000 + seed,
        "is_baseline": False,
        "baseline": {},
    }
    (job / "params.json").write_text(json.dumps(params))


def _start(job: Path, script: str) -> resource.struct_rusage:
    command = [sys.executable, "-s", "-B", str(DOMAIN / script), str(job)]
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"Expected {script} to end with status 0, but got {process.returncode}.")
    return usage


def _hand_on(job: Path, script: str) -> None:
    """Lay out for the next program what this one has left."""
    if script == "generator.py":
        for made in list((job / "out").iterdir()):
            made.rename(job / made.name)
    if script == "predict.py":
        for made in list((job / "out").iterdir()):
            made.rename(job / "outputs" / made.name)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", default="explore")
    parser.add_argument("--instance", default="default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=JSON", help="parameters in place of the stage's")
    asked = parser.parse_args()
    changed = {name: json.loads(value) for name, _, value in (one.partition("=") for one in asked.set)}
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(asked.seeds):
        for name in asked.only:
            ran = run(program_of(name), asked.stage, seed, asked.instance, **{"checks": "report", **changed})
            told = {**ran.metrics, "cpu_seconds": ran.cpu_seconds, "memory_mb": ran.memory_mb}
            rows.setdefault(name, []).append(told)
            print(name, seed, ran.refusal, {key: round(told[key], 4) for key in FIGURES if key in told}, flush=True)
    print("| mixer | " + " | ".join(FIGURES) + " |")
    print("|---" * (len(FIGURES) + 1) + "|")
    for name, runs in rows.items():
        print(f"| {name} | " + " | ".join(_cell([one.get(key, math.nan) for one in runs]) for key in FIGURES) + " |")


def _cell(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3g}"
    return f"{statistics.fmean(values):.3g} +- {statistics.stdev(values):.2g}"


if __name__ == "__main__":
    main()
