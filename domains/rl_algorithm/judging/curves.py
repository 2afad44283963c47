"""Learning curves, one panel for each regime: the candidate's runs with a band, beside what the baseline came to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from judging.forms import Run
from judging.gains import Baseline
from judging.measures import ON_THE_WAY, at_percent, mean
from judging.page import HEADER, MARGIN, page, plain

PANEL_WIDTH, PANEL_HEIGHT, GAP = 380, 270, 26
LEFT, BOTTOM, TOP = 46, 40, 40
"""Room for labels inside a panel."""

TITLES = {
    "on_policy": "on-policy",
    "stress": "off-policy stress",
    "flipped": "15 % of the rewards flipped",
    "real": "a real model",
}


def draw_curves(title: str, runs: Sequence[Run], baseline: Mapping[str, Baseline]) -> str:
    """pass@1 over the steps; the band of the candidate reaches from its lowest run to its highest, that of the baseline
    one standard deviation over its seeds to each side."""
    regimes = list(dict.fromkeys(run.regime for run in runs))
    columns = min(3, len(regimes))
    lines = -(-len(regimes) // columns)
    width = 2 * MARGIN + columns * PANEL_WIDTH + (columns - 1) * GAP
    height = HEADER + lines * (PANEL_HEIGHT + GAP)
    top = _top(runs, baseline)
    parts = page(max(width, 760), height, title, "Held-out pass@1 (sampled) over the steps of each regime")
    parts += _legend(bool(baseline))
    for index, regime in enumerate(regimes):
        x = MARGIN + index % columns * (PANEL_WIDTH + GAP)
        y = HEADER + index // columns * (PANEL_HEIGHT + GAP)
        parts += _panel(x, y, top, regime, [run for run in runs if run.regime == regime], baseline)
    return "\n".join([*parts, "</svg>\n"])


def _top(runs: Sequence[Run], baseline: Mapping[str, Baseline]) -> float:
    """The same in every panel, so that heights compare."""
    highest = max(share for run in runs for _, share in run.curve)
    for run in runs:
        for name in (f"pass_at_1_{run.regime}", *(f"pass_at_1_{run.regime}_at_{at}" for at in ON_THE_WAY)):
            if name in baseline:
                highest = max(highest, baseline[name].partner + baseline[name].sd)
    return min(1.0, max(0.05, math.ceil(highest / 0.05) * 0.05))


def _legend(compared: bool) -> list[str]:
    x, y = MARGIN, 80
    parts = [
        f'<rect class="own-band" x="{x}" y="{y - 10}" width="22" height="12"/>',
        f'<path class="own" d="M{x} {y - 4}h22"/>',
        f'<text x="{x + 28}" y="{y}">candidate, mean and range of its runs</text>',
        f'<path class="warm" d="M{x + 276} {y - 4}h22"/>',
        f'<text x="{x + 304}" y="{y}">warm start</text>',
    ]
    if compared:
        parts += [
            f'<rect class="band" x="{x + 400}" y="{y - 10}" width="22" height="12"/>',
            f'<path class="baseline" d="M{x + 400} {y - 4}h22"/>',
            f'<text x="{x + 428}" y="{y}">baseline with the same seed, and sd over its seeds</text>',
        ]
    return parts


def _panel(
    x: float, y: float, top: float, regime: str, runs: Sequence[Run], baseline: Mapping[str, Baseline]
) -> list[str]:
    def across(percent: float) -> float:
        return x + LEFT + (PANEL_WIDTH - LEFT - 22) * percent / 100

    def up(share: float) -> float:
        return y + TOP + (PANEL_HEIGHT - TOP - BOTTOM) * (1 - min(max(share / top, 0.0), 1.0))

    def line(points: Sequence[tuple[float, float]]) -> str:
        return "L".join(f"{across(percent):.1f} {up(share):.1f}" for percent, share in points)

    steps = runs[0].steps
    last = mean(run.pass_at_1 for run in runs)
    parts = [
        f'<rect class="panel" x="{x}" y="{y}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" rx="4"/>',
        f'<text class="name" x="{x + 12}" y="{y + 20}">{escape(TITLES.get(regime, regime.replace("_", " ")))}</text>',
        f'<text class="note end" x="{x + PANEL_WIDTH - 12}" y="{y + 20}">at last {plain(last)}</text>',
    ]
    for part in range(5):
        value = top * part / 4
        parts.append(f'<path class="grid" d="M{across(0):.1f} {up(value):.1f}H{across(100):.1f}"/>')
        parts.append(f'<text class="note end" x="{across(0) - 6:.1f}" y="{up(value) + 4:.1f}">{value:.2g}</text>')
    for step in sorted({round(steps * part / 3) for part in range(4)}):
        where = across(100 * step / steps)
        parts.append(f'<text class="note middle" x="{where:.1f}" y="{y + PANEL_HEIGHT - 22}">{step}</text>')
    parts.append(f'<text class="note end" x="{across(100):.1f}" y="{y + PANEL_HEIGHT - 7}">steps</text>')
    parts.append(f'<path class="axis" d="M{across(0):.1f} {up(0):.1f}H{across(100):.1f}"/>')
    warm = mean(run.curve[0][1] for run in runs)
    parts.append(f'<path class="warm" d="M{across(0):.1f} {up(warm):.1f}H{across(100):.1f}"/>')
    known = _known(regime, warm, baseline)
    if known:
        upper = [(percent, share + sd) for percent, share, sd in known]
        lower = [(percent, share - sd) for percent, share, sd in reversed(known)]
        parts.append(f'<path class="band" d="M{line(upper + lower)}Z"/>')
        parts.append(f'<path class="baseline" d="M{line([(percent, share) for percent, share, _ in known])}"/>')
    at = sorted({100 * step / run.steps for run in runs for step, _ in run.curve})
    heights = [[at_percent(run, percent) for run in runs] for percent in at]
    if len(runs) > 1:
        highest = [(percent, max(shares)) for percent, shares in zip(at, heights, strict=True)]
        lowest = [(percent, min(shares)) for percent, shares in zip(at, heights, strict=True)]
        parts.append(f'<path class="own-band" d="M{line([*highest, *reversed(lowest)])}Z"/>')
    middle = [(percent, mean(shares)) for percent, shares in zip(at, heights, strict=True)]
    parts.append(f'<path class="own" d="M{line(middle)}"/>')
    for run in runs:
        parts.append(
            f'<circle class="dot" cx="{across(100):.1f}" cy="{up(run.pass_at_1):.1f}" r="3">'
            f"<title>seed {run.seed}: {plain(run.pass_at_1)}</title></circle>"
        )
    return parts


def _known(regime: str, warm: float, baseline: Mapping[str, Baseline]) -> list[tuple[float, float, float]]:
    """(percent of the steps, pass@1, sd) of the baseline, which begins at the same warm start."""
    points = [(0.0, warm, 0.0)]
    for percent in (*ON_THE_WAY, 100):
        found = baseline.get(f"pass_at_1_{regime}" + (f"_at_{percent}" if percent < 100 else ""))
        if found is not None:
            points.append((float(percent), found.partner, found.sd))
    return points if len(points) > 1 else []
