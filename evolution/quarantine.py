"""Scores too good to be believed at once: which are held, and what repeats with other seeds say of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .models import Quarantine, QuarantineCause, RungAlarm
from .outcomes import Outcome
from .statistics import mean, robust_spread

ROUNDING = 1e-12
"""Relative, and absolute near zero: an accuracy of 1.0000000000000002 is 1."""
LEAD_OVER_BEST = 1.0
"""In robust deviations. Once a breakthrough stands, small steps on top of it are no news, however far away the median
of the population still is."""


class Suspicion(NamedTuple):
    """Why a score is not believed at once."""

    cause: QuarantineCause
    reason: str
    """What was scored and what it was compared with."""
    median: float | None
    """Of the population; `None` where a bound is broken."""


class Alarm(NamedTuple):
    """A metric that is held where it is better than the best so far by more than a share of that."""

    metric: str
    higher_is_better: bool
    margin: float

    def rings(self, value: float, best: float) -> RungAlarm | None:
        """What is to be repeated; `None` where the value is no better than it may be."""
        lead = value - best if self.higher_is_better else best - value
        if lead <= self.margin * abs(best):
            return None
        return RungAlarm(metric=self.metric, higher_is_better=self.higher_is_better, value=value, best=best)


class Verdict(NamedTuple):
    """What the repeats say."""

    released: bool
    reason: str


def suspicion(
    scores: Sequence[float], *, bound: float | None, peers: Sequence[float], deviations: float, population: int
) -> Suspicion | None:
    """Why a score must be repeated before it counts; `None` where nothing speaks against it.

    A score is an outlier where it lies more than `deviations` robust standard deviations (1.4826 times the median
    absolute deviation, Hampel 1974) above the median of its peers, and more than one above the best of them. A
    population that is small, or of which more than half score the same, says nothing about how far honest scores reach.

    Args:
        scores: of the same candidate with each of its seeds, higher is better.
        bound: what no candidate can exceed.
        peers: scores of the other candidates at the same stage.
        population: fewer peers than these are no population.
    """
    highest = max(scores)
    if breaks(bound, highest):
        return Suspicion("bound", f"Scored {highest:.10g}, above the proven bound {bound:.10g}", None)
    if len(peers) < population:
        return None
    score = mean(scores).value
    median, deviation = robust_spread(peers)
    best = max(peers)
    usual = max(median + deviations * deviation, best + LEAD_OVER_BEST * deviation)
    if deviation <= 0 or not math.isfinite(usual) or score <= usual:
        return None
    return Suspicion(
        "outlier",
        f"Scored {score:.10g}, {(score - median) / deviation:.3g} robust deviations above the median {median:.6g} of "
        f"{len(peers)} nodes (best {best:.6g}, deviation {deviation:.3g}; more than {deviations:g} are held)",
        median,
    )


def alarm_reason(rung: RungAlarm, margin: float) -> str:
    """What was measured and what it was compared with."""
    return (
        f"Its {rung.metric}, {rung.value:.6g}, is better than the best so far, {rung.best:.6g}, by more than "
        f"{margin:.0%} of that"
    )


def verdict_on_alarm(held: Quarantine, rung: RungAlarm, repeats: Sequence[float], *, confirm: float) -> Verdict:
    """What becomes of a score that was held for one of its metrics: released where the mean of the repeats, told in
    that metric, keeps at least the share `confirm` of its lead over the best."""
    again = f"With {len(repeats)} other seed{'s' if len(repeats) > 1 else ''} it was {_listed(repeats)}"
    share = (mean(repeats).value - rung.best) / (rung.value - rung.best)
    if share >= confirm:
        return Verdict(True, f"{held.reason}. {again}, so it was released from quarantine.")
    return Verdict(
        False,
        f"{held.reason}. {again}: less than {confirm:.0%} of that lead came again, so it was luck with the seed, or "
        "made for it.",
    )


def verdict(held: Quarantine, repeats: Sequence[float], *, confirm: float) -> Verdict:
    """What becomes of a held score, once the candidate has scored with every other seed.

    A broken bound is never forgiven: the score was impossible, whether or not it came again. An outlier is released
    where the mean of the repeats keeps at least the share `confirm` of its lead over the median.
    """
    again = f"With {len(repeats)} other seed{'s' if len(repeats) > 1 else ''} it scored {_listed(repeats)}"
    broken_again = [score for score in repeats if breaks(held.bound, score)]
    if held.cause == "bound" or held.median is None or broken_again:
        how = "again above the bound" if broken_again else "within the bound"
        told = held.reason if held.cause == "bound" else f"{held.reason}. The proven bound is {held.bound:.10g}"
        return Verdict(
            False, f"{told}. {again}, {how}. No program can score that: the candidate or the evaluator is wrong."
        )
    lead, lead_again = held.score - held.median, mean(repeats).value - held.median
    if lead_again >= confirm * lead:
        return Verdict(True, f"{held.reason}. {again}, so it was released from quarantine.")
    return Verdict(
        False,
        f"{held.reason}. {again}: less than {confirm:.0%} of that lead came again, so it was luck with the seed, or "
        "made for it.",
    )


def not_repeated(held: Quarantine, seed: int, outcome: Outcome, reason: str) -> str:
    """Why a held score is refused whose candidate fails with another seed."""
    return f"{held.reason}. With another seed ({seed}) it ended as {outcome}: {reason}"


def breaks(bound: float | None, score: float) -> bool:
    """Whether a score is above a bound by more than rounding."""
    return bound is not None and score > bound + ROUNDING * max(1.0, abs(bound))


def _listed(scores: Sequence[float]) -> str:
    return ", ".join(f"{score:.10g}" for score in scores)
