"""What a run tells of itself while it runs: points out of hostile lines, and a series of them that stays small.

Standard library only: the supervisors import it for every job.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

MAX_LINE_BYTES = 4096
MAX_FIELDS = 16
MAX_POINTS = 500
METRIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.@/-]{0,39}")
"""Long enough for `val/pass@1`, too short for a sentence to whoever reads it."""
PLACE_FIELDS = ("step", "of", "done")


@dataclass(frozen=True)
class Point:
    """One line of a progress file."""

    seconds: float
    """Wall time since the run began, by the supervisor's clock."""
    step: float | None
    share: float | None
    """The part of the run that is done, 0 to 1, as the line claims it."""
    values: dict[str, float]
    """Finite ones."""
    non_finite: tuple[str, ...] = ()
    """Names of the values that were NaN or infinite."""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Point:
        """The inverse of `asdict`, also by way of JSON."""
        known: dict[str, Any] = {**fields, "non_finite": tuple(fields["non_finite"])}
        return cls(**known)


@dataclass(frozen=True)
class Progress:
    """What is kept of all that a run told."""

    points: tuple[Point, ...] = ()
    """First and last, and of those between at most `MAX_POINTS`, evenly thinned."""
    lines: int = 0
    """Lines that were good."""
    broken: int = 0
    """Lines that were not."""
    skipped_bytes: int = 0
    """Passed over, because more was written than is read."""
    notes: tuple[str, ...] = ()
    """Sentences for whoever reads a result: early-stop rules that could not be applied, and why."""

    @property
    def latest(self) -> Point | None:
        """The newest point."""
        return self.points[-1] if self.points else None

    @classmethod
    def from_json(cls, text: str | bytes) -> Progress:
        """The inverse of `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        fields["points"] = tuple(Point.from_fields(point) for point in fields["points"])
        fields["notes"] = tuple(fields["notes"])
        return cls(**fields)

    def to_json(self) -> str:
        """In one line, without NaN."""
        return json.dumps(asdict(self), allow_nan=False, separators=(",", ":"))


def read_point(line: bytes, seconds: float) -> Point | None:
    """The point that a line tells, or `None` where it is not an object of few, well named numbers.

    Python's tokens NaN and Infinity are numbers here: a run that has come apart must be able to say so.
    """
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        told: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    fields = cast("dict[str, Any]", told)
    if not fields or len(fields) > MAX_FIELDS or not all(map(_is_named_number, fields.items())):
        return None
    numbers = {name: _as_float(value) for name, value in fields.items()}
    values = {name: value for name, value in numbers.items() if name not in PLACE_FIELDS}
    step = numbers.get("step", math.nan)
    return Point(
        seconds=round(seconds, 3),
        step=step if math.isfinite(step) else None,
        share=_share(numbers),
        values={name: value for name, value in values.items() if math.isfinite(value)},
        non_finite=tuple(name for name, value in values.items() if not math.isfinite(value)),
    )


def _is_named_number(field: tuple[str, Any]) -> bool:
    name, value = field
    return METRIC_NAME.fullmatch(name) is not None and isinstance(value, (int, float)) and not isinstance(value, bool)


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf if value > 0 else -math.inf


def _share(numbers: Mapping[str, float]) -> float | None:
    """`done`, or `step` over `of`; `None` where neither gives a share."""
    share = numbers.get("done")
    if share is None and numbers.get("of", 0.0) > 0.0:
        share = numbers.get("step", math.nan) / numbers["of"]
    return share if share is not None and 0.0 <= share <= 1.0 else None


class Series:
    """Points in the order of their lines, of which a bounded number is kept.

    Each `stride`-th is kept, from the first on; whenever they are too many, every second one goes and the stride
    doubles. The newest is kept besides.
    """

    def __init__(self, most: int = MAX_POINTS) -> None:
        if most < 3:
            raise ValueError(f"Expected room for 3 points or more, but got {most}.")
        self._most = most
        self._stride = 1
        self._kept: list[Point] = []
        self._latest: Point | None = None
        self.count = 0
        """How many there were."""

    def add(self, point: Point) -> None:
        """Take in the next point."""
        if self.count % self._stride == 0:
            self._kept.append(point)
        self.count += 1
        self._latest = point
        if len(self._kept) >= self._most:
            del self._kept[1::2]
            self._stride *= 2

    def points(self) -> tuple[Point, ...]:
        """What is kept, the newest last."""
        if self._latest is None or self._kept[-1] is self._latest:
            return tuple(self._kept)
        return (*self._kept, self._latest)


def thinned(points: tuple[Point, ...], most: int) -> list[Point]:
    """At most so many points (2 or more), evenly out of a series, first and last among them."""
    if len(points) <= most:
        return list(points)
    last = len(points) - 1
    return [points[round(place * last / (most - 1))] for place in range(most)]
