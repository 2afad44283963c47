"""A job folder of the domain that is worked through by hand, and an honest model's outputs for it."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from asi_evolve import domains

FOLDER = Path(domains.__file__).parent / "linear_attention"
SMALL = {"audit_rows": 16, "lm_audit_rows": 16, "lm_train_bytes": 60_000, "lm_held_out_bytes": 30_000}
LENGTHS = {"recall_length": 64, "overwrite_length": 64, "lm_length": 128}


class Job:
    """`python generator.py` and `python evaluator.py` as the sandbox runs them, with hidden/ where it puts it."""

    def __init__(
        self, path: Path, tasks: str = "recall lm", seed: int = 0, hidden_seed: int = 2**70, **more: Any
    ) -> None:
        self.path = path
        for name in ("out", "outputs", "result"):
            (path / name).mkdir(parents=True, exist_ok=True)
        self.parameters = {"tasks": tasks, "checkpoints": "30 60 100", **SMALL, **LENGTHS, **more}
        self.params: dict[str, Any] = {"stage": "explore", "seed": seed, "hidden_seed": hidden_seed, "instance": None}
        self.params |= {"parameters": self.parameters, "entry": "mixer.py", "is_baseline": False, "baseline": {}}

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        (self.path / "params.json").write_text(json.dumps(self.params))
        command = [sys.executable, "-s", "-B", str(FOLDER / script), str(self.path)]
        return subprocess.run(command, cwd="/tmp", capture_output=True, text=True, timeout=120)

    def generate(self) -> None:
        done = self.run("generator.py")
        assert done.returncode == 0, done.stderr
        made = self.path / "out" / "hidden"
        if made.exists():
            made.rename(self.path / "hidden")

    def judge(self) -> dict[str, Any]:
        """The evaluator's whole answer, without a process of its own."""
        from evaluator import judge  # of the domain's folder, which the tests have put on sys.path

        return judge(self.path, self.params)

    def evaluate(self) -> dict[str, Any]:
        """The evaluator's whole answer; it has to give one, whatever it is given."""
        (self.path / "result" / "metrics.json").unlink(missing_ok=True)
        done = self.run("evaluator.py")
        assert done.returncode == 0, done.stderr
        return json.loads((self.path / "result" / "metrics.json").read_text())

    def arrays(self, part: str, task: str) -> dict[str, np.ndarray]:
        folder = self.path / "hidden" if part == "hidden" else self.path / "out" / part
        with np.load(folder / f"{task}.npz", allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def honest_logits(self, knowledge: dict[str, float]) -> dict[str, np.ndarray]:
        """Logits of a causal model that knows so much: they depend on nothing but the tokens up to the question."""
        logits = {}
        for task in str(self.parameters["tasks"]).split():
            asked, hidden = self.arrays("inputs", task), self.arrays("hidden", task)
            for at, known in knowledge.items():
                made = np.empty((*hidden["labels"].shape, int(hidden["vocabulary"])), np.float32)
                for row, question in np.ndindex(hidden["labels"].shape):
                    before = asked["tokens"][row, : asked["positions"][row, question] + 1]
                    digest = hashlib.sha256(before.tobytes() + at.encode()).digest()
                    made[row, question] = np.random.default_rng(list(digest)).normal(size=made.shape[-1])
                    made[row, question, hidden["labels"][row, question]] += known
                logits[f"{task}@{at}"] = made
        return logits

    def losses(self, logits: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Task -> checkpoint -> loss, question by question, without the arithmetic of the evaluator."""
        losses: dict[str, dict[str, float]] = {}
        for name, made in logits.items():
            task, _, at = name.partition("@")
            hidden = self.arrays("hidden", task)
            terms = []
            for place in zip(*np.nonzero(hidden["weights"]), strict=True):
                exponentials = [math.exp(float(logit)) for logit in made[place]]
                terms.append(-math.log(exponentials[hidden["labels"][place]] / math.fsum(exponentials)))
            losses.setdefault(task, {})[at] = math.fsum(terms) / len(terms)
        return losses

    def leave(self, logits: dict[str, np.ndarray] | None, report: dict[str, Any]) -> None:
        """What the harness and the predict leave."""
        (self.path / "outputs" / "report.json").write_text(json.dumps(report))
        if logits is not None:
            np.savez(self.path / "outputs" / "predictions.npz", **logits)  # type: ignore[arg-type]


def honest_report(losses: dict[str, dict[str, float]]) -> dict[str, Any]:
    """As the harness writes it after all checks have passed."""
    from judging.forms import REQUIRED_CHECKS  # of the domain's folder, which the tests have put on sys.path

    findings = [
        {"check": check, "verdict": "passed", "value": 1e-8, "limit": 1e-5, "sentence": "As it should be."}
        for check in REQUIRED_CHECKS
    ]
    tasks = {
        task: {
            "steps": 100,
            "tokens": 409_600,
            "points": [[step, 3.0 - step / 50] for step in range(1, 101)],
            "claimed": claimed,
            "control": [[25, 2.9]],
            "tokens_per_second": 40_000.0,
        }
        for task, claimed in losses.items()
    }
    return {
        "format": 1,
        "stage": "explore",
        "refused": None,
        "kernels": {"name": "stand_in", "version": "1", "reason": "no CUDA"},
        "precision": "fp32",
        "findings": findings,
        "parameters": 120_000,
        "parameter_ratio": 1.02,
        "cost_exponent": 1.01,
        "cost_ratio": 1.3,
        "mlp_width": 128,
        "tokens_per_cpu_second": 40_000.0,
        "peak_memory_mb": None,
        "tokens_per_second": 40_000.0,
        "cpu_seconds": {"checks": 5.2, "recall": 12.0},
        "built": {"width": 64, "layers": 2, "heads": 2, "mlp_width": 128, "precision": "fp32"},
        "tasks": tasks,
    }
