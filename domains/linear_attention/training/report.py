"""What the training process says of itself: `out/report.json` and `out/progress.jsonl`.

All of it is a claim, since the candidate's code runs in the same process. The evaluator reads it with distrust, and
scores what the checkpoints answer to questions that this process never saw.

forms.py says how the report is read. Beyond what is there it has, for people: `tokens_per_second` and
`baseline_tokens_per_second` (of a training step, measured in turns; CPU seconds on a CPU), `mlp_width`,
`peak_memory_mb`, and for each task `control`, the curve of the same model without any mixer, where the candidate is
the baseline.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from checks.finding import Finding
from judging.forms import REQUIRED_CHECKS

FORMAT = 1

MOST_POINTS = 100
"""Points of a curve."""


class Report:
    """The report as it grows; it is written after every part, so that what there is can be read when a run is cut
    off."""

    def __init__(self, out: Path, stage: str) -> None:
        self._path = out / "report.json"
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "stage": stage,
            "findings": [],
            "tasks": {},
        }

    @classmethod
    def continued(cls, out: Path, stage: str) -> Report:
        """The report that an earlier process of the same run has begun."""
        report = cls(out, stage)
        report.content = json.loads(report._path.read_text())
        return report

    def add(self, findings: Iterable[Finding], *, only_report: bool = False) -> None:
        """What checks have found. With `only_report` nothing counts as refused, and checks that then did not run are
        there."""
        told = [finding._asdict() for finding in findings]
        if only_report:
            ran = {finding["check"] for finding in told}
            told = [{**one, "verdict": "flagged"} if one["verdict"] == "refused" else one for one in told]
            told += [_not_run(check) for check in REQUIRED_CHECKS if check not in ran]
        self.content["findings"] += told

    def refuse(self, finding: Finding) -> None:
        """Nothing will be scored, and why."""
        known = [one for one in self.content["findings"] if one["check"] != finding.check]
        self.content["findings"] = [*known, finding._asdict()]
        self.write()

    def value_of(self, check: str) -> float | None:
        """The figure of a finding."""
        return next((one["value"] for one in self.content["findings"] if one["check"] == check), None)

    def write(self) -> None:
        """Beside, then renamed: whoever reads it finds it whole."""
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(_finite(self.content), indent=1, allow_nan=False))
        beside.replace(self._path)


def _not_run(check: str) -> dict[str, Any]:
    return Finding(check, "flagged", None, None, "Not run: an earlier check refused the candidate.")._asdict()


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

    @property
    def at_quarter(self) -> float | None:
        """Mean loss of the points of the quarter's last fifth; None before the quarter is over.

        Told with every later point, since of long runs not every line is kept.
        """
        over = [step for step, _ in self.points if 4 * step >= self.steps]
        if not over:
            return None
        last = [loss for step, loss in self.points if 0.2 * self.steps <= step <= over[0]]
        return math.fsum(last) / len(last)


class Progress:
    """Lines of `progress.jsonl`, with the place in all tasks together."""

    def __init__(self, out: Path, of: int) -> None:
        self._path = out / "progress.jsonl"
        self._of = of

    def tell(self, step: int, **values: float) -> None:
        """One line. NaN and infinity are told as they are: the early stop is for them."""
        with self._path.open("a") as stream:
            stream.write(json.dumps({"step": step, "of": self._of, **values}) + "\n")
