"""What is known of a run, and `out/runs.json`, which the evaluator reads.

The trainer alone writes it: no number in it comes from the candidate but the counts and seconds of its calls.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.algorithm import Algorithm

FORMAT = 1


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on the held-out prompts; entropy and kl in nats a token, length in tokens."""

    pass_at_1: float
    """Share of sampled answers that are right."""
    greedy: float
    """Share of greedy answers that are right."""
    by_task: dict[str, float]
    """pass_at_1 of each task."""
    entropy: float
    kl: float
    """To the warm start, of the distributions at the sampled tokens."""
    length: float


@dataclass
class Run:
    """One regime with one seed."""

    regime: str
    seed: int
    """The inner seed: all that is random in the run comes from it."""
    steps: int
    curve: list[tuple[int, float]]
    """(steps done, pass@1), from the warm start to the last step."""
    pass_at_1: float
    greedy: float
    by_task: dict[str, float]
    entropy: float
    kl: float
    clip_fraction: float
    """Share of the tokens whose ratio to the sampler lay more than 0.2 from 1, over all minibatches."""
    length: float
    length_start: float
    warm: Evaluation
    cpu_seconds: float


@dataclass
class Report:
    """The content of runs.json as it grows, one run after the other."""

    stage: str
    seed: int
    runs: list[Run] = field(default_factory=list)
    candidate_calls: int = 0
    candidate_seconds: float = 0.0
    """Wall seconds that the trainer waited for answers."""

    def count(self, algorithm: Algorithm) -> None:
        """Take over what calls have cost; an algorithm in this process has none."""
        self.candidate_calls = getattr(algorithm, "calls", 0)
        self.candidate_seconds = getattr(algorithm, "seconds", 0.0)

    def content(self) -> dict[str, Any]:
        """As runs.json has it."""
        return {"format": FORMAT, **asdict(self)}

    def write(self, out: Path) -> None:
        """Beside, then renamed: whoever reads it finds it whole."""
        beside = out / "runs.json.part"
        beside.write_text(json.dumps(self.content(), allow_nan=False))
        beside.rename(out / "runs.json")
