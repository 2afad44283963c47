"""Exact feasibility of a packing: integers only, so that no rounding can turn an overlap into a record.

Every finite double is a whole number of units of 2**-1074. In these units sums, differences and squares are exact, and
`isqrt` answers a comparison with a distance exactly: for whole s, s * s <= D holds if and only if s <= isqrt(D). Python
integers of that size (some 2,100 bits) cost microseconds whatever the exponents, so odd numbers slow nothing down.

What "shrink by the least amount" means here: every radius r becomes max(0, r - delta), with one delta for all circles,
the least whole number of units for which every circle lies in the square and no two overlap. One delta for all keeps
the result independent of the order of the circles. It is never more than the largest violation, half of that where
only pairs overlap. Radii are then rounded down to doubles, so what is scored is a packing that a file can hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import combinations
from typing import NamedTuple

UNIT_BITS = 1074
ONE = 1 << UNIT_BITS
TOLERANCE = ONE // 10**9
"""Violations up to 1e-9 are shrunk away; larger ones make a packing invalid."""


class Circle(NamedTuple):
    """Centre and radius in units of 2**-1074."""

    x: int
    y: int
    r: int


class Violation(NamedTuple):
    """A constraint that a packing breaks, or that comes closest to being broken where it breaks none."""

    amount: int
    """In units, rounded up; zero or less where the constraint holds."""
    what: str
    """The start of a sentence, such as `Circles 3 and 7 overlap`."""
    shrink: int | None
    """The least delta in units that mends it; `None` where no delta does."""


class ExactPacking(NamedTuple):
    """A packing that holds exactly."""

    radii: tuple[float, ...]
    score: float
    """Exact sum of `radii`, rounded once."""
    shrink: float
    max_violation: float
    """Of the radii as they were returned."""


class NotFeasible(Exception):
    """The packing breaks a constraint beyond repair; the message is the sentence for the Researcher."""

    def __init__(self, worst: Violation) -> None:
        super().__init__(_sentence(worst))
        self.amount = min(worst.amount, ONE << 1000) / ONE
        """By how much, cut off at 2**1000 so that it is a double."""
        self.mendable = worst.shrink is not None
        """Whether smaller radii alone would mend it."""


def units(value: float) -> int:
    """A finite double as a whole number of units."""
    numerator, denominator = value.as_integer_ratio()
    return numerator * (ONE // denominator)


def double_below(value: int) -> float:
    """The largest double that is at most `value` units, for values up to the largest double."""
    nearest = value / ONE
    return nearest if units(nearest) <= value else math.nextafter(nearest, -math.inf)


def solve(centers: Sequence[Sequence[float]], radii: Sequence[float]) -> ExactPacking:
    """Shrink a packing of finite numbers, radii not negative, until it holds exactly.

    Raises:
        NotFeasible: a constraint is broken by more than 1e-9, or by a centre outside the square.
    """
    circles = [Circle(units(x), units(y), units(r)) for (x, y), r in zip(centers, radii, strict=True)]
    worst = 0
    shrink = 0
    for violation in violations(circles):
        if violation.amount > TOLERANCE or violation.shrink is None:
            raise NotFeasible(max(violations(circles), key=_severity))
        worst = max(worst, violation.amount)
        shrink = max(shrink, violation.shrink)
    scored = tuple(radii) if shrink == 0 else tuple(double_below(max(0, circle.r - shrink)) for circle in circles)
    _check_again(circles, scored)
    return ExactPacking(scored, math.fsum(scored), shrink / ONE, worst / ONE)


def violations(circles: Sequence[Circle]) -> Iterator[Violation]:
    """Every constraint that the circles break."""
    for index, circle in enumerate(circles):
        for side, room in _room(circle):
            if circle.r > room:
                amount = circle.r - room
                yield Violation(amount, f"Circle {index} crosses the {side}", amount if room >= 0 else None)
    for (i, a), (j, b) in combinations(enumerate(circles), 2):
        distance = distance_below(a, b)
        if (amount := a.r + b.r - distance) > 0:
            yield Violation(amount, f"Circles {i} and {j} overlap", _pair_shrink(a.r, b.r, distance))


def _room(circle: Circle) -> tuple[tuple[str, int], ...]:
    return (
        ("left side", circle.x),
        ("right side", ONE - circle.x),
        ("bottom side", circle.y),
        ("top side", ONE - circle.y),
    )


def distance_below(a: Circle, b: Circle) -> int:
    """Distance of two centres, rounded down to whole units."""
    return math.isqrt((a.x - b.x) ** 2 + (a.y - b.y) ** 2)


def _pair_shrink(first: int, second: int, distance: int) -> int:
    small, large = sorted((first, second))
    both = -(-(first + second - distance) // 2)
    # A radius stops at zero, and from there on only the larger circle gives way.
    return both if both <= small else large - distance


def _severity(violation: Violation) -> tuple[int, int]:
    beyond_repair = violation.amount > TOLERANCE or violation.shrink is None
    return int(beyond_repair), violation.amount


def _sentence(violation: Violation) -> str:
    amount = _decimal(violation.amount)
    if violation.amount > TOLERANCE:
        return f"{violation.what} by {amount}, more than the 1e-9 that is shrunk away."
    return f"{violation.what} by {amount} with its centre outside the square, which no smaller radius mends."


def _decimal(amount: int) -> str:
    # Not `amount / ONE`, which overflows near the largest double.
    return f"{Decimal(amount) / Decimal(ONE):.6e}"


def _check_again(circles: Sequence[Circle], scored: Sequence[float]) -> None:
    shrunk = [circle._replace(r=units(r)) for circle, r in zip(circles, scored, strict=True)]
    left = next(violations(shrunk), None)
    if left is not None or any(after.r > before.r for before, after in zip(circles, shrunk, strict=True)):
        raise AssertionError(f"expected the shrunk packing to hold exactly, but {left}")
