"""What `check-domain` makes of the end of a case: the rules, without anything that runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..domains.contract import DomainSpec
from ..domains.fuzzing import Expectation, Nudge
from ..domains.own_cases import OwnCase
from ..evolution.outcomes import Outcome
from ..evolution.text import excerpt
from .jobs import JobExit

SAYING = 200
"""Characters of a reason that are shown."""
GAIN_OF_ROUNDING = 1e-10
"""Relative; a smaller one is what a baseline keeps off its bounds on purpose."""

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Line:
    """One case of the report."""

    case: str
    state: State
    text: str


@dataclass(frozen=True)
class Honest:
    """What the baseline came to, each time that it was judged."""

    metrics: Mapping[str, float]
    scores: tuple[float, ...]
    size: float
    """What a gain is large or small beside; see `size_of`."""

    @property
    def bar(self) -> float:
        """A score above it is a gain, also where honest runs differ among themselves."""
        return max(self.scores) + (max(self.scores) - min(self.scores))


def score_of(spec: DomainSpec, end: JobExit) -> float | None:
    """The score, as the Engineer would have it."""
    if end.outcome is not Outcome.SCORED or spec.fitness.metric not in end.metrics:
        return None
    return spec.fitness.score(end.metrics)


def size_of(spec: DomainSpec, stage: str, score: float, metrics: Mapping[str, float]) -> float:
    """How large a score is. A gain over the baseline is 0 for that itself: there the metrics are what is large."""
    relative, found = spec.fitness.relative, spec.stage(stage)
    if relative is None or relative.form != "gain" or found is None or not found.baseline_seeds:
        return abs(score)
    return relative.yardstick(stage).size(metrics)


def baseline_lines(spec: DomainSpec, end: JobExit) -> list[Line]:
    """Whether the baseline is scored, and whether it reports what `domain.toml` declares."""
    score = score_of(spec, end)
    if score is None:
        return [Line("baseline", "failed", _why_no_score(spec, end))]
    seconds = f"{end.usage.cpu_seconds:.1f} CPU seconds"
    return [Line("baseline", "ok", f"scored {score:.12g} in {seconds}"), *_declared(spec, end.metrics)]


def _why_no_score(spec: DomainSpec, end: JobExit) -> str:
    if end.outcome is Outcome.SCORED:
        return f"expected the metric {spec.fitness.metric} of the fitness, but it reported {sorted(end.metrics)}"
    return f"expected a score, but it ended as {end.outcome}: {excerpt(end.reason, 3 * SAYING)}"


def _declared(spec: DomainSpec, metrics: Mapping[str, float]) -> list[Line]:
    """Warnings and no failures: some metrics are worth computing at a dear stage only."""
    silent, unknown = sorted(set(spec.metrics) - set(metrics)), sorted(set(metrics) - set(spec.metrics))
    lines: list[Line] = []
    if silent:
        lines.append(Line("metrics", "warning", f"declared, but not reported here: {', '.join(silent)}"))
    if unknown:
        lines.append(Line("metrics", "warning", f"reported, but not declared in domain.toml: {', '.join(unknown)}"))
    return lines or [Line("metrics", "ok", f"as declared: {', '.join(metrics)}")]


def judge_lines(spec: DomainSpec, baseline: float, size: float, bound: float | None) -> list[Line]:
    """Whether marks alone can move a score by more than the metric can: by all that is left to gain where a bound is
    proven, else by the size of what the baseline scores. Nothing where the domain has no rubric."""
    if spec.judge is None:
        return []
    room = (1 - spec.judge.weight) * (size if bound is None else bound - baseline)
    what = "what the baseline scores by its metric" if bound is None else "what the metric can still gain"
    figures = f"marks from lowest to highest move a score by {spec.judge.span:.4g}; {what} counts {room:.4g}"
    if spec.judge.span <= room:
        return [Line("judge", "ok", figures)]
    advice = "the judge can outweigh the metric: lower judge.weight, or narrow judge.maps_to"
    return [Line("judge", "warning", f"{figures}: {advice}")]


def repeat_line(case: str, first: float, again: float | None, end: JobExit) -> Line:
    """Whether what was done twice came to the same."""
    if again is None:
        return Line(case, "failed", f"expected {first:.12g} again, but it ended as {_told(end)}")
    if again == first:
        return Line(case, "ok", f"the same score again: {again:.12g}")
    text = f"{first!r} at first, then {again!r}: what depends on a clock or on unseeded chance cannot be compared"
    return Line(case, "warning", text)


def verdict(spec: DomainSpec, case: str, expectation: Expectation, end: JobExit, honest: Honest) -> Line:
    """On a malformed output."""
    if end.outcome is Outcome.INVALID_OUTPUT:
        return Line(case, "ok", f"refused: {excerpt(end.reason, SAYING)}")
    score = score_of(spec, end)
    if score is None:
        return Line(case, "failed", f"expected a score or a refusal, but it ended as {_told(end)}")
    if expectation is Expectation.REFUSED:
        return Line(case, "failed", f"scored {score:.12g}, where nothing may be scored")
    invented = sorted(set(end.metrics) - set(spec.metrics) - set(honest.metrics))
    if invented:
        return Line(case, "failed", f"reported metrics that the candidate made up: {', '.join(invented)[:SAYING]}")
    if score <= honest.bar:
        return Line(case, "ok", f"scored {score:.12g}, which gains nothing")
    better = f"scored {score:.12g}, better than the honest {max(honest.scores):.12g}"
    if expectation is Expectation.NO_GAIN:
        return Line(case, "failed", better)
    return Line(case, "warning", f"{better}: is that a better answer?")


def _told(end: JobExit) -> str:
    if end.outcome is Outcome.SCORED:
        return f"scored without the metric of the fitness, with {sorted(end.metrics)}"
    return f"{end.outcome}: {excerpt(end.reason, 2 * SAYING)}"


def series_line(spec: DomainSpec, series: str, steps: Sequence[tuple[Nudge, JobExit]], honest: Honest) -> Line:
    """On an honest output whose numbers are moved by more and more.

    Gains that end in a refusal are what a tolerance looks like. Gains that go on are a baseline that leaves room.
    """
    steps = sorted(steps, key=lambda step: abs(step[0].amount))
    for _, end in steps:
        if end.outcome not in (Outcome.SCORED, Outcome.INVALID_OUTPUT):
            return Line(series, "failed", f"expected a score or a refusal, but it ended as {_told(end)}")
    gains = [nudge.amount for nudge, end in steps if _gains(spec, end, honest)]
    refused = [nudge.amount for nudge, end in steps if end.outcome is Outcome.INVALID_OUTPUT]
    if not gains:
        return Line(series, "ok", "gains nothing")
    if not refused:
        return Line(series, "ok", "gains, however far it goes: the baseline leaves room")
    best = max(score for nudge, end in steps if (score := score_of(spec, end)) is not None and nudge.amount in gains)
    text = (
        f"gains up to {best - max(honest.scores):.3g} at {gains[-1]:+g}, and is refused at {refused[-1]:+g}: "
        "a tolerance that counts as gain, or a baseline that leaves little room?"
    )
    return Line(series, "warning", text)


def _gains(spec: DomainSpec, end: JobExit, honest: Honest) -> bool:
    score = score_of(spec, end)
    return score is not None and score > honest.bar + GAIN_OF_ROUNDING * honest.size


def own_case_line(spec: DomainSpec, case: OwnCase, end: JobExit) -> Line:
    """On a case that the domain brought itself."""
    score, wanted = score_of(spec, end), case.settings
    if case.must_be_scored:
        if score is None:
            return Line(case.name, "failed", f"expected a score, but it ended as {_told(end)}")
        if wanted.score is not None and not math.isclose(score, wanted.score, rel_tol=1e-9, abs_tol=1e-12):
            return Line(case.name, "failed", f"expected the score {wanted.score!r}, but got {score!r}")
        return Line(case.name, "ok", f"scored {score:.12g}")
    if end.outcome is not Outcome.INVALID_OUTPUT:
        what = f"was scored {score:.12g}" if score is not None else f"ended as {_told(end)}"
        return Line(case.name, "failed", f"expected a refusal, but it {what}")
    if wanted.reason is not None and wanted.reason not in end.reason:
        return Line(case.name, "failed", f"expected a refusal that says {wanted.reason!r}, but got: {end.reason}")
    return Line(case.name, "ok", f"refused: {excerpt(end.reason, SAYING)}")
