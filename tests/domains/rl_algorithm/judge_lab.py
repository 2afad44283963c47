"""How tests come by the evaluator: reports as the trainer writes them, and a job folder that is judged."""

import json
import os
import subprocess
import sys
import tomllib

from .boundary_lab import FOLDER

REGIMES = ("on_policy", "stress", "flipped")
WARM = 0.115


def run_of(regime, seed, pass_at_1=0.3, steps=30, greedy=0.35):
    """One run as training/runs.py writes it."""
    third = WARM + (pass_at_1 - WARM) / 3
    warm = {"pass_at_1": WARM, "greedy": 0.12, "by_task": {"add": WARM}, "entropy": 1.0, "kl": 0.0, "length": 5.0}
    return {
        "regime": regime,
        "seed": seed,
        "steps": steps,
        "curve": [[0, WARM], [steps // 3, third], [steps, pass_at_1]],
        "pass_at_1": pass_at_1,
        "greedy": greedy,
        "by_task": {"add": pass_at_1 / 2, "mod": pass_at_1, "sort": pass_at_1 * 1.5},
        "entropy": 0.6,
        "kl": 0.4,
        "clip_fraction": 0.08,
        "length": 4.0,
        "length_start": 5.0,
        "warm": warm,
        "cpu_seconds": 6.6,
    }


def report_of(regimes=REGIMES, seeds=(0, 1, 2), pass_at_1=lambda regime, seed: 0.3, **changed):
    """All regimes with all seeds."""
    runs = [run_of(regime, seed, pass_at_1(regime, seed)) for regime in regimes for seed in seeds]
    told = {"format": 1, "stage": "explore", "seed": 0, "candidate_calls": 99, "candidate_seconds": 1.5}
    return {**told, "runs": runs, **changed}


def told(metrics, sd=0.02, same_seed=True):
    """What the Engineer says of a baseline whose run with this seed had these metrics."""
    own = ["mean", "same_seed"] if same_seed else ["mean"]
    return {name: {**dict.fromkeys(own, value), "sd": sd, "seeds": 3} for name, value in metrics.items()}


class Job:
    """A job folder with a trainer's report, judged by the evaluator in a process of its own."""

    def __init__(self, path, report, *, baseline=None, seed=0, stage="explore", **changed):
        self.path = path
        for name in ("outputs", "result"):
            (path / name).mkdir(parents=True)
        domain = tomllib.loads((FOLDER / "domain.toml").read_text())
        found = next(entry for entry in domain["stages"] if entry["name"] == stage)
        parameters = {**domain["instances"]["default"], **found["parameters"], **changed}
        params = {"stage": stage, "seed": seed, "instance": "default", "parameters": parameters}
        (path / "params.json").write_text(json.dumps({**params, "baseline": baseline or {}}))
        (path / "outputs" / "runs.json").write_text(report if isinstance(report, str) else json.dumps(report))

    def judge(self):
        """The evaluator's answer."""
        command = [sys.executable, "-s", "-B", str(FOLDER / "evaluator.py"), str(self.path)]
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        return json.loads((self.path / "result" / "metrics.json").read_text())

    def left(self, name):
        """The text of an artifact."""
        return (self.path / "result" / name).read_text()
