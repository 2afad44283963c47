"""Draws curves with bands as an SVG, in colours and dashes that colour-blind readers tell apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from ..evolution.curves import Curve, Point
from ..evolution.text import excerpt, inert

# Okabe and Ito (2008) without yellow, which is too faint on a light ground.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
DASHES = ("", "9 4", "2 3", "10 3 2 3", "16 4", "5 2", "1 5", "12 3 2 3 2 3")
WIDTH, HEIGHT = 900, 460
LEFT, RIGHT, TOP, BOTTOM = 96, 24, 56, 60
LEGEND_LINE = 22
LABEL_LIMIT = 110
FONT = "font-family='Helvetica, Arial, sans-serif'"


class Series(NamedTuple):
    """A curve and what the legend says of it."""

    label: str
    curve: Curve


class Axis(NamedTuple):
    """Maps values onto pixels. `ticks` lie within `low` and `high`."""

    low: float
    high: float
    from_pixel: float
    to_pixel: float
    ticks: tuple[float, ...]

    def pixel(self, value: float) -> float:
        """Halves, since the range of scores may overflow."""
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return self.from_pixel + share * (self.to_pixel - self.from_pixel)


def draw(title: str, series: Sequence[Series]) -> str:
    """The whole document.

    Args:
        title: one line above the plot.
    """
    rounds = max((entry.curve.rounds for entry in series), default=0)
    values = [value for entry in series for point in entry.curve.points for value in (point.low, point.high)]
    across = _axis(0.0, float(max(rounds, 1)), LEFT, WIDTH - RIGHT, whole=True)
    up = _score_axis(values)
    bands = [_band(entry.curve.points, across, up, place) for place, entry in enumerate(series)]
    lines = [_line(entry.curve.points, across, up, place) for place, entry in enumerate(series)]
    height = HEIGHT + LEGEND_LINE * len(series) + 12
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}'"
        f" role='img' {FONT}>",
        f"<title>{_text(title, 300)}</title>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        f"<text x='{LEFT}' y='32' font-size='17' fill='#222222'>{_text(title, 95)}</text>",
        *_grid(across, up),
        *filter(None, bands),
        *filter(None, lines),
        *_legend(series),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(text: str, limit: int) -> str:
    return escape(excerpt(" ".join(inert(text).split()), limit), {"'": "&apos;", '"': "&quot;"})


def _score_axis(values: Sequence[float]) -> Axis:
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    margin = (high / 2 - low / 2) * 0.1 or max(abs(high) * 0.01, 1e-9)
    wider = (low - margin, high + margin)
    low, high = (edge if math.isfinite(edge) else value for edge, value in zip(wider, (low, high), strict=True))
    return _axis(low, high, HEIGHT - BOTTOM, TOP)


def _axis(low: float, high: float, from_pixel: float, to_pixel: float, *, whole: bool = False) -> Axis:
    return Axis(low, high, from_pixel, to_pixel, tuple(ticks(low, high, whole=whole)))


def ticks(low: float, high: float, most: int = 7, *, whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`, at steps of 1, 2 or 5 times a power of ten.

    Args:
        whole: steps are whole numbers.
    """
    width = high - low
    if not math.isfinite(width):
        return [low, high]
    rough = max(width / most, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_label(value: float, step: float) -> str:
    """With as many digits as tell neighbours apart."""
    if value == 0:
        return "0"
    if not math.isfinite(step):  # the range of the scores overflows
        return f"{value:.3g}"
    if not 1e-4 <= abs(step) < 1e6 or abs(value) >= 1e7:
        return f"{value:.{_digits(value, step)}g}"
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _digits(value: float, step: float) -> int:
    return min(max(math.floor(math.log10(abs(value))) - math.floor(math.log10(abs(step))) + 1, 1), 12)


def _step(axis: Axis) -> float:
    return axis.ticks[1] - axis.ticks[0] if len(axis.ticks) > 1 else abs(axis.ticks[0]) if axis.ticks else 1.0


def _grid(across: Axis, up: Axis) -> list[str]:
    low, right, label = HEIGHT - BOTTOM, WIDTH - RIGHT, "font-size='13' fill='#444444'"
    parts = ["<g stroke='#e2e2e2' stroke-width='1'>"]
    parts += [f"<line x1='{LEFT}' y1='{y:.1f}' x2='{right}' y2='{y:.1f}'/>" for y in map(up.pixel, up.ticks)]
    parts += [f"</g><g {label} text-anchor='end'>"]
    parts += [
        f"<text x='{LEFT - 8}' y='{up.pixel(value) + 4.5:.1f}'>{tick_label(value, _step(up))}</text>"
        for value in up.ticks
    ]
    parts += [f"</g><g {label} text-anchor='middle'>"]
    parts += [
        f"<text x='{across.pixel(value):.1f}' y='{low + 20}'>{tick_label(value, _step(across))}</text>"
        for value in across.ticks
    ]
    middle, centre = (LEFT + right) / 2, (TOP + low) / 2
    parts += [
        f"<text x='{middle}' y='{low + 44}'>round (candidates that ended by their own merit; 0 is the baseline)</text>",
        f"<text transform='translate(20 {centre}) rotate(-90)'>best score so far</text></g>",
        f"<path d='M{LEFT} {TOP}V{low}H{right}' fill='none' stroke='#444444'/>",
    ]
    return parts


def _stairs(points: Sequence[Point], across: Axis, value: Callable[[Point], float], up: Axis) -> list[str]:
    """Corners of a staircase from left to right: a best so far holds until the next round."""
    corners: list[str] = []
    before: float | None = None
    for point in points:
        x, y = across.pixel(point.round), up.pixel(value(point))
        if before is not None:
            corners.append(f"{x:.1f} {before:.1f}")
        corners.append(f"{x:.1f} {y:.1f}")
        before = y
    return corners


def _line(points: Sequence[Point], across: Axis, up: Axis, place: int) -> str:
    corners = _stairs(points, across, lambda point: point.value, up)
    if not corners:
        return ""
    x, y = corners[-1].split()
    end = f"<circle cx='{x}' cy='{y}' r='4' fill='{_colour(place)}'/>"  # else a rise in the last round is a bare stroke
    return f"<path d='M{'L'.join(corners)}' fill='none' {_stroke(place)}/>{end}" if len(points) > 1 else end


def _band(points: Sequence[Point], across: Axis, up: Axis, place: int) -> str:
    if len(points) < 2 or all(point.low == point.high for point in points):
        return ""
    above = _stairs(points, across, lambda point: point.high, up)
    below = _stairs(points, across, lambda point: point.low, up)
    return f"<path d='M{'L'.join([*above, *reversed(below)])}Z' fill='{_colour(place)}' fill-opacity='0.16'/>"


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _stroke(place: int) -> str:
    dash = DASHES[place % len(DASHES)]
    return f"stroke='{_colour(place)}' stroke-width='2.2'" + (f" stroke-dasharray='{dash}'" if dash else "")


def _legend(series: Sequence[Series]) -> list[str]:
    parts: list[str] = []
    for place, entry in enumerate(series):
        y = HEIGHT + LEGEND_LINE * place + 8
        parts += [
            f"<path d='M{LEFT} {y}H{LEFT + 56}' fill='none' {_stroke(place)}/>",
            f"<text x='{LEFT + 68}' y='{y + 4.5}' font-size='13' fill='#222222'>"
            f"{_text(entry.label, LABEL_LIMIT)}</text>",
        ]
    return parts
