"""Two candidates compared: the difference of their scores, with an interval where the seeds allow one."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..statistics import Interval, Mean, mean, t_quantile

ROUNDING = 1e-12
"""Relative to the largest score: differences this close together are equal."""
MORE_SEEDS = 4
"""How many the advice asks for: with five the factor of the interval is 2.8, with two it is 12.7."""

SeedScores = Mapping[int, float]
"""Seed to score of one candidate at one stage."""
Without = Literal["few seeds", "same every time", "too large"]


@dataclass(frozen=True)
class Difference:
    """How much more the second of two candidates scores than the first, at one stage."""

    mean: float
    stderr: float | None
    interval: Interval | None
    """95 %, two-sided; of a mean over seeds, so it says nothing of a single run."""
    paired: bool
    """Over the seeds that both have; else between the means of each one's own seeds."""
    seeds: tuple[int, int]
    """How many scores of the first and of the second went into it; equal where it is paired."""
    all_seeds: tuple[int, int]
    """How many scores each has."""
    without: Without | None = None
    """Why there is no interval."""

    @property
    def inside_noise(self) -> bool | None:
        """Whether the seeds leave open which candidate is better; `None` where there is no interval."""
        return None if self.interval is None else not self.interval.excludes_zero


def difference(first: SeedScores, second: SeedScores) -> Difference:
    """Second minus first; each has at least one score.

    Over two or more shared seeds: the mean of the paired differences, with Student's t interval on n - 1 degrees of
    freedom (Student 1908). Else, with two or more seeds each: the difference of the means with Welch's interval (Welch
    1947). Else there is no interval. Differences that are all equal say nothing about how much other seeds would
    change, so they have none either.
    """
    shared = sorted(first.keys() & second.keys())
    all_seeds = (len(first), len(second))
    if len(shared) < 2 and min(all_seeds) >= 2:
        return _unpaired(list(first.values()), list(second.values()))
    gaps = [second[seed] - first[seed] for seed in shared]
    if len(shared) >= 2:
        largest = max(abs(score) for seed in shared for score in (first[seed], second[seed]))
        return _paired(gaps, largest, all_seeds)
    gap = gaps[0] if gaps else mean(list(second.values())).value - mean(list(first.values())).value
    seeds = (1, 1) if gaps else all_seeds
    return _checked(Difference(gap, None, None, bool(gaps), seeds, all_seeds, "few seeds"))


def _paired(gaps: Sequence[float], largest: float, all_seeds: tuple[int, int]) -> Difference:
    found = mean(gaps) if all(map(math.isfinite, gaps)) else Mean(gaps[0], None, len(gaps))
    same = max(gaps) - min(gaps) <= ROUNDING * largest
    plain = Difference(found.value, found.stderr, None, True, (len(gaps), len(gaps)), all_seeds)
    return _same(plain) if same else _with_interval(plain, len(gaps) - 1)


def _unpaired(first: Sequence[float], second: Sequence[float]) -> Difference:
    seeds = (len(first), len(second))
    before, after = mean(first), mean(second)
    errors = (before.stderr or 0.0, after.stderr or 0.0)
    stderr = math.hypot(*errors)
    plain = Difference(after.value - before.value, stderr, None, False, seeds, seeds)
    if all(max(scores) - min(scores) <= ROUNDING * max(map(abs, scores)) for scores in (first, second)):
        return _same(plain)
    # Ratios of the errors, since their fourth powers would leave the number range early.
    parts = [(error / stderr) ** 4 / (count - 1) for error, count in zip(errors, seeds, strict=True)]
    return _with_interval(plain, 1 / math.fsum(parts) if math.isfinite(stderr) else 1.0)


def _same(plain: Difference) -> Difference:
    return _checked(replace(plain, stderr=None, without="same every time"))


def _with_interval(plain: Difference, degrees: float) -> Difference:
    reach = t_quantile(degrees) * (plain.stderr if plain.stderr is not None else math.inf)
    return _checked(replace(plain, interval=Interval(plain.mean - reach, plain.mean + reach)))


def _checked(found: Difference) -> Difference:
    """Without an interval where the numbers have overflown on the way: a penalty such as -1e308 is a score too."""
    if all(map(math.isfinite, (found.mean, *(found.interval or ())))):
        return found
    largest = sys.float_info.max
    gap = min(max(found.mean, -largest), largest)
    return replace(found, mean=gap, stderr=None, interval=None, without="too large")


def described(found: Difference, first: str, second: str, stage: str | None = None) -> str:
    """The difference in words, and what would make it surer.

    Args:
        first, second: node ids.
        stage: where more seeds are to run, if that is not where both nodes scored last.
    """
    sure = certainty(found, first, second, stage)
    if found.mean == 0:
        return f"{second} scores the same as {first} {_over(found)}; {sure}."
    gap = f"{abs(found.mean):.4g} {'more' if found.mean > 0 else 'less'} than {first}"
    return f"{second} scores {gap} {_over(found)}: {sure}."


def certainty(found: Difference, first: str, second: str, stage: str | None = None) -> str:
    """How far a difference can be believed, as the end of a sentence."""
    if found.interval is not None:
        low, high = found.interval
        verdict = "inside the noise" if found.inside_noise else "outside the noise"
        return f"{verdict} (95 % interval {low:.4g} to {high:.4g})"
    if found.without == "same every time":
        return "exactly as much with every seed seen, so there is no interval, and nothing is known of other seeds"
    if found.without == "too large":
        return "no interval: the scores are too large to square"
    return f"no interval: {_too_few(found, first, second, stage)}"


def _over(found: Difference) -> str:
    count, other = found.seeds
    if found.paired:
        return f"with the {count} seeds they share" if count > 1 else "with the one seed they share"
    return f"with different seeds ({other} and {count})"


def _too_few(found: Difference, first: str, second: str, stage: str | None) -> str:
    needy = [name for name, count in zip((second, first), reversed(found.all_seeds), strict=True) if count < 2]
    at = f"stage='{stage}', " if stage is not None else ""
    calls = ", then ".join(f"promote_node(node='{name}', {at}seeds={MORE_SEEDS})" for name in needy)
    return f"{' and '.join(needy)} {'have' if len(needy) > 1 else 'has'} one seed; {calls}"
