"""What a stage says about a run on a real model, out of params.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """Parameters of a stage; the names are those of domain.toml."""

    steps: int = 100
    """Rollouts; each is followed by `epochs * minibatches` steps of the optimiser."""
    prompts: int = 16
    samples: int = 8
    """Completions of a prompt: the size of a group."""
    epochs: int = 1
    minibatches: int = 2
    """Parts of a rollout, by whole groups; the candidate's loss is asked once for each."""
    accumulate: int = 1
    """Parts of a minibatch that are back-propagated one after the other, where memory is short. The candidate is then
    asked for the loss of each part, and their mean is taken."""
    learning_rate: float = 1e-6
    warmup: int = 0
    """Steps of the optimiser over which the learning rate rises."""
    max_prompt: int = 512
    """Tokens; problems with more are left out."""
    max_completion: int = 512
    temperature: float = 1.0
    max_gradient: float = 1.0
    """Global norm that d loss / d logp is clipped to, and then the gradient of the parameters."""
    held_out: int = 64
    """Held-out problems that are asked; 0 asks all."""
    held_out_samples: int = 4
    """Samples of each, over which pass@1 is the mean."""
    evaluate_every: int = 20
    """Rollouts between two evaluations; besides there is one at a third of the steps, and one at the end."""
    evaluation_batch: int = 32
    device: str = "auto"
    """`auto` is the GPU that the stage was granted, else the CPU; `cpu` and `cuda` insist."""
    template: str = "auto"
    """`chat`: prompts go through the tokenizer's chat template; `plain`: as they are; `auto`: by whether it has one."""

    @classmethod
    def read(cls, parameters: Mapping[str, Any]) -> Settings:
        """The settings among the parameters of a stage; other names are other people's.

        Raises:
            ValueError: one has another type, or they do not go together.
        """
        settings = cls()
        for name in cls._fields:
            if name in parameters:
                settings = settings._replace(**{name: _of_type(name, parameters[name], getattr(settings, name))})
        settings.check()
        return settings

    @property
    def rollout_rows(self) -> int:
        """Completions of a rollout."""
        return self.prompts * self.samples

    @property
    def rows(self) -> int:
        """Completions whose loss is asked at a time."""
        return self.rollout_rows // (self.minibatches * self.accumulate)

    @property
    def updates(self) -> int:
        """Steps of the optimiser in a run."""
        return self.steps * self.epochs * self.minibatches

    def check(self) -> None:
        """Raise ValueError where the settings do not go together."""
        for name in ("steps", "prompts", "epochs", "minibatches", "accumulate", "max_completion", "max_prompt"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} to be at least 1, but got {getattr(self, name)}.")
        if self.samples < 2:
            raise ValueError(f"Expected samples to be at least 2, since a group is compared, but got {self.samples}.")
        if self.prompts % (self.minibatches * self.accumulate):
            raise ValueError(
                f"Expected minibatches * accumulate to divide prompts, so that groups stay whole, but got "
                f"{self.minibatches} * {self.accumulate} and {self.prompts}."
            )
        for name, choice in (("device", ("auto", "cpu", "cuda")), ("template", ("auto", "chat", "plain"))):
            if getattr(self, name) not in choice:
                raise ValueError(f"Expected {name} to be one of {', '.join(choice)}, but got {getattr(self, name)!r}.")


def _of_type(name: str, value: Any, default: int | float | str) -> int | float | str:
    wanted = type(default)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise ValueError(f"Expected the parameter {name} to be of type {wanted.__name__}, but got {value!r}.")
    return value
