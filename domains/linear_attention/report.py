"""What the training process says of itself: `out/report.json` and `out/progress.jsonl`.

All of it is a claim, since the candidate's code runs in the same process. The evaluator reads it with distrust, and scores
what the checkpoints answer to questions that this process never saw.

    {"format": 1, "stage": str,
     "refused": null | {"check": str, "sentence": str},
     "findings": [{"check", "verdict", "value", "limit", "sentence"}],
     "kernels": {"name", "version", "reason"}, "precision": "fp32" | "bf16",
     "parameters": int, "parameter_ratio": float, "mlp_width": int, "cost_ratio": float, "cost_exponent": float,
     "tokens_per_cpu_second": float, "peak_memory_mb": float,          null where they were not measured
     "tasks": {TASK: {"steps": int, "points": [[step, loss], ...], "claimed": {"50": loss, ...}, "seconds": CPU seconds,
                      "control": [[step, loss], ...]}}}                control: no mixer, with the baseline only
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

FORMAT = 1

MOST_POINTS = 200
"""Points of a curve."""

MEASURES = (
    "parameters",
    "parameter_ratio",
    "mlp_width",
    "cost_ratio",
    "cost_exponent",
    "tokens_per_cpu_second",
    "peak_memory_mb",
)


class Report:
    """The report as it grows; it is written after every part, so that what there is can be read when a run is cut off."""

    def __init__(self, out: Path, stage: str) -> None:
        self._path = out / "report.json"
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "stage": stage,
            "refused": None,
            "findings": [],
            "kernels": None,
            "precision": None,
            **dict.fromkeys(MEASURES),
            "tasks": {},
        }

    @classmethod
    def continued(cls, out: Path, stage: str) -> Report:
        """The report that an earlier process of the same run has begun."""
        report = cls(out, stage)
        report.content = json.loads(report._path.read_text())
        return report

    def refuse(self, check: str, sentence: str) -> None:
        """Nothing will be scored, and why."""
        self.content["refused"] = {"check": check, "sentence": sentence}
        self.write()

    def write(self) -> None:
        """Beside, then renamed: whoever reads it finds it whole."""
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(_finite(self.content), indent=1, allow_nan=False))
        beside.replace(self._path)


def _finite(value: Any) -> Any:
    """JSON has no NaN; a figure that is none is null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Curve:
    """Losses of a training, each point the mean since the point before."""

    def __init__(self, steps: int) -> None:
        self.every = max(1, math.ceil(steps / MOST_POINTS))
        self.steps = steps
        self.points: list[tuple[int, float]] = []
        self._open: list[float] = []

    def add(self, step: int, loss: float) -> bool:
        """Whether this step made a new point."""
        self._open.append(loss)
        if step % self.every and step != self.steps:
            return False
        self.points.append((step, math.fsum(self._open) / len(self._open)))
        self._open.clear()
        return True

    def latest(self, points: int = 10) -> float:
        """Mean loss of the last few points."""
        last = [loss for _, loss in self.points[-points:]]
        return math.fsum(last) / len(last) if last else math.nan


class Progress:
    """Lines of `progress.jsonl`, with the place in all tasks together."""

    def __init__(self, out: Path, of: int) -> None:
        self._path = out / "progress.jsonl"
        self._of = of

    def tell(self, step: int, **values: float) -> None:
        """One line. NaN and infinity are told as they are: the early stop is for them."""
        with self._path.open("a") as stream:
            stream.write(json.dumps({"step": step, "of": self._of, **values}) + "\n")
