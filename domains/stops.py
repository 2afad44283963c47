"""Early stops: the `[[stop]]` rules of `domain.toml`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, FiniteFloat, model_validator

from ..evolution.early_stop import StopOutcome, StopRule, Test
from ..evolution.progress import METRIC_NAME
from .section import Name, Positive, Section

_STOP_KEYS: dict[Test, tuple[str, ...]] = {
    "nan": (),
    "above": ("value",),
    "below": ("value",),
    "above_baseline": ("at", "k", "min_sd"),
    "below_baseline": ("at", "k", "min_sd"),
    "above_start": ("by",),
    "below_start": ("by",),
}
"""What each early-stop rule needs; `at` is free where a value or the run's own start is the bound."""


class StopSpec(Section):
    """`[[stop]]`: a condition on what a run tells in its progress file that ends it early."""

    rule: Test
    """`nan`: not finite. `above`, `below`: past `value`. `above_baseline`, `below_baseline`: past `k` standard
    deviations of what the campaign's baseline told when it was as far. `above_start`, `below_start`: by more than `by`
    from the run's own first value. Which way is bad depends on the metric: above for a loss, below for an accuracy."""
    metric: Annotated[str, Field(pattern=rf"^{METRIC_NAME.pattern}$")] | None = None
    """A name in the progress lines; `nan` without it means any."""
    at: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    """The share of the run at which it is judged, once; without it, at every line."""
    value: FiniteFloat | None = None
    k: Annotated[FiniteFloat, Field(ge=0)] | None = None
    min_sd: Positive | None = None
    """The least standard deviation, and the only one where the baseline ran with one seed."""
    by: Annotated[FiniteFloat, Field(ge=0)] | None = None
    control: Annotated[str, Field(pattern=rf"^{METRIC_NAME.pattern}$")] | None = None
    """Another name in the baseline's progress lines, say the loss of a model without the part that is evolved: nothing
    is stopped that has not fallen behind that too."""
    outcome: StopOutcome = "reject"
    """`reject`: the experiment ends as `rejected`. `score`: what the run has left by then is evaluated."""
    stages: tuple[Name, ...] = ()
    """Where it holds; empty means everywhere."""

    @property
    def needs_baseline(self) -> bool:
        """Whether the bound comes from the campaign's baseline."""
        return self.rule in ("above_baseline", "below_baseline")

    def at_stage(self, stage: str) -> bool:
        """Whether it holds at that stage."""
        return not self.stages or stage in self.stages

    def resolved(self) -> StopRule:
        """As the supervisor judges it, still without what the baseline told."""
        return StopRule(
            self.rule, self.outcome, self.metric, self.at, self.value, self.k, self.by, control=self.control
        )

    @model_validator(mode="after")
    def _keys_fit_the_rule(self) -> Self:
        needed = _STOP_KEYS[self.rule]
        if self.metric is None and self.rule != "nan":
            raise ValueError(f"rule {self.rule!r}: expected `metric`, but there is none")
        for key in ("at", "value", "k", "min_sd", "by"):
            is_given = getattr(self, key) is not None
            if key in needed and not is_given:
                raise ValueError(f"rule {self.rule!r}: expected `{key}`, but there is none")
            is_free = key == "at" and self.rule != "nan"
            if is_given and key not in needed and not is_free:
                raise ValueError(f"rule {self.rule!r}: expected no `{key}`, but got {getattr(self, key)}")
        if self.control is not None and not self.needs_baseline:
            raise ValueError(f"rule {self.rule!r}: expected no `control`, but got {self.control!r}")
        return self
