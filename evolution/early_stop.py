"""When a run ends early: rules on what it tells of itself, judged point by point.

Standard library only: the supervisors import it for every job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .progress import Point

Test = Literal["nan", "above", "below", "above_baseline", "below_baseline", "above_start", "below_start"]
StopOutcome = Literal["reject", "score"]


@dataclass(frozen=True)
class Reference:
    """What the baseline had told of a metric when it was as far."""

    mean: float
    sd: float
    """Standard deviation over its runs, with n - 1, or the domain's least one where that is larger."""
    runs: int
    control: float | None = None
    """The mean of what it had told of the rule's control metric."""


@dataclass(frozen=True)
class StopRule:
    """A condition on the progress of a run that ends it.

    `nan` holds once a value is not finite. The others compare a finite value with a bound, strictly: with `value`; with
    `k` standard deviations above (below) the baseline's mean; with the run's own first value plus (minus) `by`.
    """

    test: Test
    outcome: StopOutcome = "reject"
    metric: str | None = None
    """`None` means any; only for `nan`."""
    at: float | None = None
    """Judged once, at the first point with the metric that has come so far (0 to 1); `None`: at every point."""
    value: float | None = None
    k: float | None = None
    by: float | None = None
    reference: Reference | None = None
    control: str | None = None
    """A metric that the baseline tells; the bound is never on the better side of its mean."""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> StopRule:
        """The inverse of `asdict`, also by way of JSON."""
        told = fields["reference"]
        known: dict[str, Any] = {**fields, "reference": Reference(**told) if told is not None else None}
        return cls(**known)

    @property
    def name(self) -> str:
        """How a reader knows it from the others."""
        place = f" at {self.at:.4g}" if self.at is not None else ""
        return f"{self.test}{place} on {self.metric or 'any value'}"


@dataclass(frozen=True)
class Stop:
    """A rule held: the run is over."""

    outcome: StopOutcome
    reason: str
    """One sentence for a reader."""


class Judge:
    """Applies rules to the points of one run, in order. The first rule that holds decides, and for good."""

    def __init__(self, rules: Sequence[StopRule]) -> None:
        self._rules = rules
        self._start: dict[str, float] = {}
        self._judged: set[int] = set()
        self.stop: Stop | None = None
        """How it came out, once a rule has held."""

    def see(self, point: Point) -> Stop | None:
        """Take in the next point; why the run is over, if it is."""
        for name, value in point.values.items():
            self._start.setdefault(name, value)
        for place, rule in enumerate(self._rules):
            if self.stop is None:
                self._apply(place, rule, point)
        return self.stop

    def _apply(self, place: int, rule: StopRule, point: Point) -> None:
        if rule.test == "nan":
            found = [name for name in point.non_finite if rule.metric in (None, name)]
            if found or rule.metric is None or rule.metric in point.values:
                self._judged.add(place)
            why = f"{found[0]} is not finite" if found else None
        else:
            why = self._passed(place, rule, point)
        if why is not None:
            self.stop = Stop(rule.outcome, f"Stopped early {_whereabouts(point)}: {why}.")

    def _passed(self, place: int, rule: StopRule, point: Point) -> str | None:
        """What is wrong with a point, where a bound is passed."""
        value = point.values.get(rule.metric or "")
        bound = _bound(rule, self._start)
        if value is None or bound is None:
            return None
        if rule.at is not None and (place in self._judged or point.share is None or point.share < rule.at):
            return None
        self._judged.add(place)
        upwards = rule.test.startswith("above")
        if not (value > bound if upwards else value < bound):
            return None
        way = "above" if upwards else "below"
        return f"{rule.metric} {value:.6g} is {way} {bound:.6g}{_origin(rule, self._start)}"

    def notes(self) -> tuple[str, ...]:
        """A sentence for each rule that was never judged."""
        return tuple(
            f"Early-stop rule {rule.name} was not applied: {_why_not(rule)}."
            for place, rule in enumerate(self._rules)
            if place not in self._judged and self.stop is None
        )


def _bound(rule: StopRule, start: Mapping[str, float]) -> float | None:
    sign = 1.0 if rule.test.startswith("above") else -1.0
    if rule.test in ("above", "below"):
        return rule.value
    if rule.test in ("above_baseline", "below_baseline"):
        known = rule.reference
        return _baseline_bound(rule, known, sign) if known is not None else None
    first = start.get(rule.metric or "")
    return first + sign * (rule.by or 0.0) if first is not None else None


def _baseline_bound(rule: StopRule, known: Reference, sign: float) -> float | None:
    """Whichever spares more: so many deviations past the mean, or the control. `None` where that is not known."""
    bound = known.mean + sign * (rule.k or 0.0) * known.sd
    if rule.control is None:
        return bound
    return sign * max(sign * bound, sign * known.control) if known.control is not None else None


def _origin(rule: StopRule, start: Mapping[str, float]) -> str:
    """Where a bound comes from, in words."""
    sign = "+" if rule.test.startswith("above") else "-"
    if (known := rule.reference) is not None:
        seeds = f"{known.runs} seed{'s' if known.runs > 1 else ''}"
        if known.control is not None and _bound(rule, start) == known.control:
            return f" (the baseline's control, {rule.control}, {seeds})"
        return f" (the baseline's {known.mean:.6g} {sign} {rule.k:g} x {known.sd:.4g}, {seeds})"
    if rule.by is not None:
        return f" (its own start, {start[rule.metric or '']:.6g}, {sign} {rule.by:g})"
    return ""


def _why_not(rule: StopRule) -> str:
    if rule.test in ("above_baseline", "below_baseline") and rule.reference is None:
        return "the baseline has told no such value at this stage"
    if rule.control is not None and rule.reference is not None and rule.reference.control is None:
        return f"the baseline has told no {rule.control} at this stage"
    return "no line told it" if rule.at is None else "no line that had come so far told it"


def _whereabouts(point: Point) -> str:
    step = f"step {point.step:.10g}" if point.step is not None else ""
    share = f"at {100 * point.share:.3g} %" if point.share is not None else ""
    if share and step:
        return f"{share} ({step})"
    return share or (f"at {step}" if step else f"after {point.seconds:.3g} s")
