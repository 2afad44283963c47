"""Curves of best score so far against round: of one campaign, of the mean over replicates, and what they come to.

A round is a candidate that ended by its own merit: a failure is a round without a score, never a number. Round 0 is the
baseline. A best so far never falls, so every curve is a staircase.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .outcomes import Outcome
from .statistics import mean

FEWEST_FOR_STDERR = 5
"""Below so many replicates a standard error is a guess; the band is then from the lowest to the highest of them."""
FRACTIONS = (0.5, 0.9, 0.99)
"""Of the way from the common start to the common best."""

BandKind = Literal["mean ± standard error", "mean, minimum to maximum", "± standard error of the best node", "no band"]


class Trial(NamedTuple):
    """How one candidate ended. `score` and `stderr` are at the stage that is compared."""

    outcome: Outcome
    score: float | None
    stderr: float | None = None


class Step(NamedTuple):
    """The best node so far."""

    score: float
    stderr: float | None


@dataclass(frozen=True)
class Course:
    """One campaign: after each round, the best so far (`None` while nothing has scored)."""

    steps: tuple[Step | None, ...]
    failures: Mapping[str, int]
    """Outcome to how many rounds ended so, without a score."""

    @property
    def rounds(self) -> int:
        """Candidates, besides the baseline."""
        return len(self.steps) - 1


def course(baseline: Trial | None, trials: Sequence[Trial]) -> Course:
    """Walk the candidates of a campaign in order; `baseline` is `None` where it has not ended."""
    best: Step | None = None
    steps: list[Step | None] = []
    for trial in [baseline, *trials]:
        if trial is not None and trial.score is not None and (best is None or trial.score > best.score):
            best = Step(trial.score, trial.stderr)
        steps.append(best)
    failed = Counter(str(trial.outcome) for trial in trials if trial.outcome is not Outcome.SCORED)
    return Course(tuple(steps), dict(failed))


class Point(NamedTuple):
    """The curve of an arm at a round. `low` and `high` are equal to `value` where there is no band."""

    round: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """An arm: the mean over its campaigns, for the rounds that all of them have."""

    points: tuple[Point, ...]
    band: BandKind
    rounds: int

    def at(self, round_: int) -> Point | None:
        """The curve at a round; `None` before all of its campaigns have scored."""
        return next((point for point in self.points if point.round == round_), None)


def arm_curve(courses: Sequence[Course]) -> Curve:
    """The curve of at least one campaign.

    It ends with the shortest of them: a mean over those that are left would jump as they drop out.
    """
    rounds = min(entry.rounds for entry in courses)
    band = _band_kind(courses)
    columns = [[entry.steps[number] for entry in courses] for number in range(rounds + 1)]
    points = [
        _point(number, [step for step in column if step is not None], band)
        for number, column in enumerate(columns)
        if None not in column
    ]
    return Curve(tuple(points), band, rounds)


def _band_kind(courses: Sequence[Course]) -> BandKind:
    if len(courses) >= FEWEST_FOR_STDERR:
        return "mean ± standard error"
    if len(courses) > 1:
        return "mean, minimum to maximum"
    known = any(step is not None and step.stderr is not None for step in courses[0].steps)
    return "± standard error of the best node" if known else "no band"


def _point(number: int, steps: Sequence[Step], band: BandKind) -> Point:
    average = mean([step.score for step in steps])
    if band == "mean, minimum to maximum":
        scores = [step.score for step in steps]
        low, high = min(scores), max(scores)
        return Point(number, min(max(average.value, low), high), low, high)  # a mean of equals may be rounded past them
    stderr = average.stderr if len(steps) > 1 else steps[0].stderr
    return Point(number, average.value, average.value - (stderr or 0.0), average.value + (stderr or 0.0))


class Span(NamedTuple):
    """From where all arms start to the best that any of them found."""

    start: float
    best: float

    def share(self, score: float) -> float | None:
        """How much of the way a score has come, from 0 to 1; `None` where there is no way."""
        width = self.best / 2 - self.start / 2  # halves, since the whole may overflow
        return min(max((score / 2 - self.start / 2) / width, 0.0), 1.0) if width > 0 else None


def common_span(courses: Sequence[Course]) -> Span | None:
    """Mean of the baselines that scored (else the lowest first score) to the highest score; `None` without scores."""
    scored = [[step.score for step in entry.steps if step is not None] for entry in courses]
    if not any(scored):
        return None
    baselines = [entry.steps[0].score for entry in courses if entry.steps[0] is not None]
    start = mean(baselines).value if baselines else min(scores[0] for scores in scored if scores)
    return Span(start, max(scores[-1] for scores in scored if scores))


@dataclass(frozen=True)
class ArmSummary:
    """What an arm came to."""

    rounds: tuple[int, int]
    """Of its shortest and its longest campaign."""
    final: Point | None
    """Where its curve ends; `None` where a campaign has no score."""
    best: float | None
    """Of all its campaigns, whenever it came."""
    reached: dict[float, int | None]
    """Fraction of the common span to the round at which the curve got there; `None` where it has not."""
    area: float | None
    """Mean share of the common span over the rounds that all arms have, from 0 to 1."""
    failures: dict[str, int]
    trials: int


def summarise(courses: Sequence[Course], curve: Curve, span: Span | None, shared_rounds: int) -> ArmSummary:
    """An arm against the others. `shared_rounds` are those that the curves of all arms have."""
    counts: Counter[str] = Counter()
    for entry in courses:
        counts.update(entry.failures)
    scores = [step.score for entry in courses for step in entry.steps if step is not None]
    return ArmSummary(
        rounds=(min(entry.rounds for entry in courses), max(entry.rounds for entry in courses)),
        final=curve.points[-1] if curve.points else None,
        best=max(scores, default=None),
        reached={fraction: _first_at(curve, span, fraction) for fraction in FRACTIONS},
        area=_area(curve, span, shared_rounds),
        failures=dict(counts.most_common()),
        trials=sum(entry.rounds for entry in courses),
    )


def _first_at(curve: Curve, span: Span | None, fraction: float) -> int | None:
    if span is None:
        return None
    for point in curve.points:
        share = span.share(point.value)
        if share is not None and share >= fraction - 1e-12:  # rounding must not cost a round
            return point.round
    return None


def _area(curve: Curve, span: Span | None, rounds: int) -> float | None:
    """Rounds before the first score have come none of the way."""
    if span is None or rounds < 1 or span.share(span.best) is None:
        return None
    shares = [span.share(point.value) or 0.0 for point in curve.points if 1 <= point.round <= rounds]
    return math.fsum(shares) / rounds
