"""What a campaign may use, what it has used, and which bounds it has reached."""

from __future__ import annotations

from dataclasses import dataclass

from .models import Budget


@dataclass(frozen=True)
class BudgetUse:
    """What a campaign has used so far."""

    experiments: int
    rounds: int
    cpu_seconds: float
    gpu_seconds: float
    wall_seconds: float
    best_score: float | None
    since_best: int
    """Candidates finished since the best score was found."""
    best_unjudged: bool = False
    """Whether the node with the best score waits for a judgement."""


_UNITS = {
    "experiments": "experiments",
    "rounds": "rounds",
    "cpu_seconds": "CPU seconds",
    "gpu_seconds": "GPU seconds",
    "wall_seconds": "seconds of wall time",
}


def reached(budget: Budget, use: BudgetUse) -> list[str]:
    """The bounds that are reached, one sentence each; empty while the campaign may go on."""
    found: list[str] = []
    for name, unit in _UNITS.items():
        allowed, used = getattr(budget, name), getattr(use, name)
        if allowed is not None and used >= allowed:
            found.append(f"{used:g} of {allowed:g} {unit} are used ({name}={allowed:g})")
    if budget.target_score is not None and use.best_score is not None and use.best_score >= budget.target_score:
        found.append(f"the best score {use.best_score:.10g} has reached target_score={budget.target_score:.10g}")
    if budget.patience is not None and use.since_best >= budget.patience:
        found.append(f"{use.since_best} candidates in a row brought no new best score (patience={budget.patience})")
    return found
