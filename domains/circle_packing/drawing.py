"""A packing as an SVG: the square, the circles coloured by radius, and what touches what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

CONTACT_GAP = 1e-6
"""Circles closer than this touch: packings that keep a margin of 1e-7 for safety still show what holds them."""

SIZE, MARGIN, HEADER = 720, 36, 64
SMALL, LARGE = (250, 224, 178), (44, 116, 140)
"""Fill of the smallest and of the largest circle, as RGB."""

STYLE = """
  text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #22303a; }
  .title { font-size: 21px; font-weight: 600; }
  .note { font-size: 14px; fill: #5b6b75; }
  .label { font-size: 11px; text-anchor: middle; dominant-baseline: central; fill: #22303a; }
  .light { fill: #f4f8fa; }
  .square { fill: #ffffff; stroke: #22303a; stroke-width: 1.5; }
  .circle { stroke: #22303a; stroke-width: 0.8; }
  .loose { stroke-dasharray: 4 3; }
  .contact { stroke: #b8402a; stroke-width: 1.1; stroke-opacity: 0.75; }
  .touch { fill: #b8402a; }
"""

Point = Sequence[float]


def contacts_of(
    centers: Sequence[Point], radii: Sequence[float]
) -> tuple[list[tuple[int, int]], list[tuple[int, float, float]]]:
    """Pairs of circles that touch, and (circle, x, y) where a circle touches a side of the square."""
    pairs = [
        (i, j)
        for i, j in combinations(range(len(radii)), 2)
        if math.dist(centers[i], centers[j]) - radii[i] - radii[j] <= CONTACT_GAP
    ]
    walls = [
        (index, *touch)
        for index, ((x, y), r) in enumerate(zip(centers, radii, strict=True))
        for gap, touch in ((x - r, (0.0, y)), (1 - x - r, (1.0, y)), (y - r, (x, 0.0)), (1 - y - r, (x, 1.0)))
        if gap <= CONTACT_GAP
    ]
    return pairs, walls


def draw(centers: Sequence[Point], radii: Sequence[float], title: str) -> str:
    """The picture; circles that touch nothing have a dashed rim."""
    pairs, walls = contacts_of(centers, radii)
    held = {index for pair in pairs for index in pair} | {wall[0] for wall in walls}
    note = f"{len(pairs)} contacts between circles, {len(walls)} with the sides"
    width, height = SIZE + 2 * MARGIN, SIZE + HEADER + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{title}</title>\n<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#f6f4ef"/>',
        f'<text class="title" x="{MARGIN}" y="30">{title}</text>',
        f'<text class="note" x="{MARGIN}" y="51">{note}</text>',
        f'<rect class="square" x="{MARGIN}" y="{HEADER}" width="{SIZE}" height="{SIZE}"/>',
        *_circles(centers, radii, held),
        *_contacts(centers, radii, pairs, walls),
        *_labels(centers, radii),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _place(x: float, y: float) -> tuple[float, float]:
    """From the unit square, whose y grows upwards, to the page."""
    return MARGIN + SIZE * x, HEADER + SIZE * (1 - y)


def _shades(radii: Sequence[float]) -> list[float]:
    low, high = min(radii), max(radii)
    return [(r - low) / (high - low) if high > low else 0.5 for r in radii]


def _circles(centers: Sequence[Point], radii: Sequence[float], held: set[int]) -> list[str]:
    drawn = []
    for index, ((x, y), r, shade) in enumerate(zip(centers, radii, _shades(radii), strict=True)):
        page_x, page_y = _place(x, y)
        red, green, blue = (round(a + shade * (b - a)) for a, b in zip(SMALL, LARGE, strict=True))
        drawn.append(
            f'<circle class="circle{"" if index in held else " loose"}" cx="{page_x:.4f}" cy="{page_y:.4f}" '
            f'r="{SIZE * r:.4f}" fill="rgb({red},{green},{blue})"><title>circle {index}: r = {r!r}</title></circle>'
        )
    return drawn


def _contacts(
    centers: Sequence[Point],
    radii: Sequence[float],
    pairs: Sequence[tuple[int, int]],
    walls: Sequence[tuple[int, float, float]],
) -> list[str]:
    ends = [(centers[i], centers[j], _between(centers[i], centers[j], radii[i], radii[j])) for i, j in pairs]
    ends += [(centers[index], (x, y), (x, y)) for index, x, y in walls]
    drawn = []
    for start, end, touch in ends:
        (x1, y1), (x2, y2), (x, y) = _place(*start), _place(*end), _place(*touch)
        drawn.append(f'<line class="contact" x1="{x1:.3f}" y1="{y1:.3f}" x2="{x2:.3f}" y2="{y2:.3f}"/>')
        drawn.append(f'<circle class="touch" cx="{x:.3f}" cy="{y:.3f}" r="2.6"/>')
    return drawn


def _between(a: Point, b: Point, first: float, second: float) -> tuple[float, float]:
    share = first / (first + second) if first + second > 0 else 0.5
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])


def _labels(centers: Sequence[Point], radii: Sequence[float]) -> list[str]:
    drawn = []
    for index, ((x, y), r, shade) in enumerate(zip(centers, radii, _shades(radii), strict=True)):
        if SIZE * r < 12:
            continue
        # Below the middle, where the lines of the contacts meet.
        page_x, page_y = _place(x, y - 0.42 * r)
        tone = "label light" if shade > 0.6 else "label"
        drawn.append(f'<text class="{tone}" x="{page_x:.3f}" y="{page_y:.3f}">{index}</text>')
    return drawn
