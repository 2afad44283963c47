"""Under which conditions a candidate trains: near to its samples, far from them, and with a verifier that errs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PROMPTS, SAMPLES = 24, 8
EVALUATION_PROMPTS = 768
CURVE_POINTS = 6


@dataclass(frozen=True)
class Regime:
    """How one run trains."""

    name: str
    steps: int
    epochs: int
    """Passes over what one step has sampled."""
    minibatches: int
    """Of one pass; each is an update."""
    learning_rate: float
    flipped: float
    """Share of the rewards that are turned round, in training alone."""
    prompts: int
    """Of one step."""
    samples: int
    """Answers to each prompt, a group."""
    evaluation_prompts: int
    curve_points: int

    @property
    def place(self) -> int:
        """Among all. Runs of one seed draw other prompts in each regime: with the same ones, true rewards of one regime
        would show which of another are flipped."""
        return tuple(KNOWN).index(self.name)

    def __post_init__(self) -> None:
        if self.prompts % self.minibatches:
            raise ValueError(
                f"Expected prompts that divide into {self.minibatches} minibatches of whole groups, "
                f"but got {self.prompts}."
            )


# name: (epochs, minibatches, learning rate, share of flipped rewards, steps where the stage says nothing)
KNOWN = {
    "on_policy": (2, 2, 5e-4, 0.0, 70),
    "stress": (8, 4, 1e-3, 0.0, 15),
    "flipped": (2, 2, 5e-4, 0.15, 70),
}


def regime(name: str, parameters: Mapping[str, Any]) -> Regime:
    """With what the parameters of the stage change: `steps` (on_policy), `NAME_steps`, `prompts`, `samples`,
    `evaluation_prompts`, `curve_points`."""
    if name not in KNOWN:
        raise ValueError(f"Expected a regime of {', '.join(KNOWN)}, but got {name!r}.")
    epochs, minibatches, learning_rate, flipped, steps = KNOWN[name]
    if name == "on_policy":
        steps = parameters.get("steps", steps)
    return Regime(
        name=name,
        steps=int(parameters.get(f"{name}_steps", steps)),
        epochs=epochs,
        minibatches=minibatches,
        learning_rate=learning_rate,
        flipped=flipped,
        prompts=int(parameters.get("prompts", PROMPTS)),
        samples=int(parameters.get("samples", SAMPLES)),
        evaluation_prompts=int(parameters.get("evaluation_prompts", EVALUATION_PROMPTS)),
        curve_points=int(parameters.get("curve_points", CURVE_POINTS)),
    )
