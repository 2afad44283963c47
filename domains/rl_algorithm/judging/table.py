"""The gains of all runs with their interval, and every metric beside the baseline's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from judging.gains import Baseline, Gain, Interval
from judging.page import HEADER, MARGIN, in_words, page, plain, signed

ROW, WIDTH = 22, 860
AXIS_LEFT, AXIS_WIDTH = 230, 560
"""Of the gains, in pixels from the margin."""

HIGHER_IS_BETTER = ("pass_at_1", "area", "greedy", "worst_task", "worst_seed")
"""Beginnings of the names of metrics whose differences have a good side."""


def draw_table(
    title: str,
    metrics: Mapping[str, float],
    baseline: Mapping[str, Baseline],
    gains: Sequence[Gain],
    spread: Interval | None,
) -> str:
    """Gains above, metrics below; a baseline's own table has metrics alone."""
    drawn = _gains(gains, spread, HEADER - 14) if gains else []
    top = HEADER - 14 + (ROW * (len(gains) + 3) + 14 if gains else 0)
    height = top + ROW * (len(metrics) + 2)
    parts = [*page(WIDTH + 2 * MARGIN, height, title, in_words(gains, spread, baseline)), *drawn]
    heads = ((360, "candidate"), (480, "same seed"), (600, "baseline mean"), (680, "sd"), (760, "seeds"), (860, "gap"))
    heads = heads if baseline else heads[:1]
    parts += [f'<text class="note end" x="{MARGIN + x}" y="{top}">{name}</text>' for x, name in heads]
    for place, (name, value) in enumerate(metrics.items(), start=1):
        parts += _metric(name, value, baseline.get(name), top + ROW * place)
    return "\n".join([*parts, "</svg>\n"])


def _gains(gains: Sequence[Gain], spread: Interval | None, y: float) -> list[str]:
    """A dot for each run, and below them the mean with its interval."""
    reach = max(0.02, *(abs(gain.value) for gain in gains))
    if spread is not None:
        reach = max(reach, abs(spread.low), abs(spread.high))

    def across(value: float) -> float:
        return MARGIN + AXIS_LEFT + AXIS_WIDTH * (0.5 + 0.5 * value / reach)

    bottom = y + ROW * (len(gains) + 1) + 4
    parts = [f'<path class="axis" d="M{across(0):.1f} {y - 6}V{bottom}"/>']
    for value, label in ((-reach, signed(-reach)), (0.0, "0"), (reach, signed(reach))):
        parts.append(f'<text class="note middle" x="{across(value):.1f}" y="{bottom + 16}">{label}</text>')
    for place, gain in enumerate(gains, start=1):
        line = y + ROW * place - 8
        kind = "better" if gain.value > 0 else "worse" if gain.value < 0 else "neutral"
        parts += [
            f'<path class="grid" d="M{MARGIN} {line + 10}h{WIDTH}"/>',
            f'<text x="{MARGIN}" y="{line + 4}">{escape(gain.regime.replace("_", " "))}, seed {gain.seed}</text>',
            f'<circle class="{kind}" cx="{across(gain.value):.1f}" cy="{line}" r="4.5"/>',
            f'<text class="number" x="{MARGIN + WIDTH}" y="{line + 4}">{signed(gain.value)}</text>',
        ]
    if spread is not None:
        line = y + ROW * (len(gains) + 1) - 8
        parts += [
            f'<text class="name" x="{MARGIN}" y="{line + 4}">mean, 95 % interval</text>',
            f'<path class="whisker" d="M{across(spread.low):.1f} {line}H{across(spread.high):.1f}"/>',
            f'<circle class="mean" cx="{across(spread.mean):.1f}" cy="{line}" r="6"/>',
            f'<text class="number name" x="{MARGIN + WIDTH}" y="{line + 4}">{signed(spread.mean)}</text>',
        ]
    return parts


def _metric(name: str, value: float, known: Baseline | None, y: float) -> list[str]:
    figures = [(360, plain(value), "")]
    if known is not None:
        gap = value - known.partner
        good = name.startswith(HIGHER_IS_BETTER) and abs(gap) > 5e-4
        kind = ("better" if gap > 0 else "worse") if good else ""
        figures += [
            (480, plain(known.same_seed), ""),
            (600, plain(known.mean), ""),
            (680, plain(known.sd) if known.seeds > 1 else "", ""),
        ]
        figures += [(760, str(known.seeds), ""), (860, signed(gap), kind)]
    return [
        f'<path class="grid" d="M{MARGIN} {y + 6}h{WIDTH}"/>',
        f'<text x="{MARGIN}" y="{y}">{escape(name)}</text>',
        *(f'<text class="number {kind}" x="{MARGIN + x}" y="{y}">{text}</text>' for x, text, kind in figures if text),
    ]
