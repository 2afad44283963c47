"""Two pictures: losses over training beside the baseline's, and a table of all metrics and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from judging.audit import Audit
from judging.comparison import Comparison
from judging.forms import Claim, Finding

PANEL_WIDTH, PANEL_HEIGHT, GAP, MARGIN, HEADER = 380, 250, 34, 32, 104
LEFT, BOTTOM, TOP = 46, 34, 30
"""Room for labels inside a panel."""

BAND = 22
"""Width of what stands for the baseline at a checkpoint."""

ASKED = {"lm": "claimed for all bytes, audited inside words"}
"""Where the claimed curve and the audited points are losses of different questions."""

ROW_HEIGHT, TABLE_WIDTH = 22, 980
WIDEST_IN_SD, BAR = 6.0, 90
"""Differences are drawn as bars of up to so many deviations, and pixels to each side."""

SENTENCE_WIDTH = 118
"""Characters of a verdict's sentence that are shown."""

STYLE = """
  text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 12px; fill: #22303a; }
  .title { font-size: 19px; font-weight: 600; }
  .note { fill: #5b6b75; }
  .name { font-size: 14px; font-weight: 600; }
  .end { text-anchor: end; }
  .middle { text-anchor: middle; }
  .number { font-variant-numeric: tabular-nums; text-anchor: end; }
  .panel { fill: #ffffff; stroke: #c9cfd3; }
  .grid { stroke: #e4e8ea; }
  .axis { stroke: #8b979e; }
  .band { fill: #2c748c; fill-opacity: 0.18; }
  .baseline { stroke: #2c748c; stroke-width: 2; fill: none; }
  .claim { stroke: #b8402a; stroke-width: 0.9; stroke-opacity: 0.55; fill: none; }
  .audit { fill: #b8402a; }
  .whisker { stroke: #b8402a; stroke-width: 1.6; }
  .better { fill: #3f8a4f; }
  .worse { fill: #b8402a; }
  .neutral { fill: #8b979e; }
  .line { stroke: #e4e8ea; }
"""

VERDICT_CLASS = {"passed": "better", "warning": "neutral", "flagged": "worse", "refused": "worse"}

HIGHER_IS_BETTER, LOWER_IS_BETTER = ("_accuracy",), ("_loss", "_loss_30", "_loss_60", "_loss_100", "_bpb", "cost_ratio")


def draw_curves(
    title: str,
    note: str,
    audits: Mapping[str, Mapping[str, Audit]],
    claims: Mapping[str, Claim],
    rows: Sequence[Comparison],
) -> str:
    """One panel for each task: audited losses with standard errors, the baseline's mean +- sd, the claimed curve."""
    by_name = {row.name: row for row in rows}
    columns = max(1, min(3, len(audits)))
    lines = -(-len(audits) // columns)
    width = 2 * MARGIN + columns * PANEL_WIDTH + (columns - 1) * GAP
    height = HEADER + max(1, lines) * (PANEL_HEIGHT + GAP)
    parts = _page(max(width, 640), height, title, note)
    parts += _legend(has_baseline=any(row.mean is not None for row in rows))
    if not audits:
        parts.append(f'<text class="note" x="{MARGIN}" y="{HEADER + 30}">Nothing was trained at this stage.</text>')
    for index, (task, found) in enumerate(audits.items()):
        x = MARGIN + index % columns * (PANEL_WIDTH + GAP)
        y = HEADER + index // columns * (PANEL_HEIGHT + GAP)
        of_baseline = {at: by_name[f"{task}_loss_{at}"] for at in found if f"{task}_loss_{at}" in by_name}
        parts += _panel(x, y, task, found, claims[task], of_baseline)
    return "\n".join([*parts, "</svg>\n"])


def draw_table(title: str, note: str, rows: Sequence[Comparison], findings: Sequence[Finding]) -> str:
    """Metrics with the baseline's mean, deviation and seeds, differences as bars, and what each check said."""
    height = HEADER + ROW_HEIGHT * (len(rows) + len(findings) + 4)
    parts = _page(TABLE_WIDTH + 2 * MARGIN, height, title, note)
    y = HEADER - 18
    heads = ((0, "metric", ""), (300, "candidate", "end"), (420, "baseline", "end"), (510, "sd", "end"))
    heads += ((570, "seeds", "end"), (680, "difference", "end"), (770, "in sd", "end"))
    parts += [f'<text class="note {kind}" x="{MARGIN + x}" y="{y}">{name}</text>' for x, name, kind in heads]
    for row in rows:
        y += ROW_HEIGHT
        parts += _table_row(row, y)
    y += 2 * ROW_HEIGHT
    parts.append(f'<text class="name" x="{MARGIN}" y="{y}">Checks</text>')
    for finding in findings:
        y += ROW_HEIGHT
        shown = finding.sentence[:SENTENCE_WIDTH] + ("…" if len(finding.sentence) > SENTENCE_WIDTH else "")
        kind = VERDICT_CLASS[finding.verdict]
        parts += [
            f'<text x="{MARGIN}" y="{y}">{escape(finding.check)}</text>',
            f'<text class="{kind}" x="{MARGIN + 110}" y="{y}">{finding.verdict}</text>',
            f'<text class="note" x="{MARGIN + 180}" y="{y}">{escape(shown)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _page(width: float, height: float, title: str, note: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#f6f4ef"/>',
        f'<text class="title" x="{MARGIN}" y="34">{escape(title)}</text>',
        f'<text class="note" x="{MARGIN}" y="54">{escape(note)}</text>',
    ]


def _legend(*, has_baseline: bool) -> list[str]:
    x, y = MARGIN, 80
    legend = [
        f'<circle class="audit" cx="{x + 6}" cy="{y - 4}" r="4"/>',
        f'<text x="{x + 16}" y="{y}">audited loss (bar: standard error)</text>',
        f'<path class="claim" d="M{x + 232} {y - 4}h22"/>',
        f'<text x="{x + 260}" y="{y}">training loss, as claimed</text>',
    ]
    if not has_baseline:
        return legend
    return [
        *legend,
        f'<rect class="band" x="{x + 420}" y="{y - 10}" width="22" height="12"/>',
        f'<path class="baseline" d="M{x + 420} {y - 4}h22"/>',
        f'<text x="{x + 448}" y="{y}">baseline, mean and sd over seeds</text>',
    ]


def _panel(
    x: float, y: float, task: str, found: Mapping[str, Audit], claim: Claim, of_baseline: Mapping[str, Comparison]
) -> list[str]:
    curve = [(100 * step / claim.steps, loss) for step, loss in claim.curve if step <= claim.steps]
    known = [(float(at), row.mean, row.sd or 0.0) for at, row in of_baseline.items() if row.mean is not None]
    # A claimed curve may be anything, so the audit and the baseline decide what is in the picture.
    tops = [audited.loss + audited.standard_error for audited in found.values()]
    tops += [mean + sd for _, mean, sd in known]
    tops += [min(loss, 2 * max(tops)) for _, loss in curve]
    top = _round_up(max(*tops, 1e-3))

    def across(percent: float) -> float:
        return x + LEFT + (PANEL_WIDTH - LEFT - 22) * percent / 100

    def up(loss: float) -> float:
        return y + TOP + (PANEL_HEIGHT - TOP - BOTTOM) * (1 - min(max(loss / top, 0.0), 1.0))

    parts = [
        f'<rect class="panel" x="{x}" y="{y}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" rx="4"/>',
        f'<text class="name" x="{x + 12}" y="{y + 20}">{escape(task.replace("_", " "))}</text>',
        f'<text class="note end" x="{x + PANEL_WIDTH - 12}" y="{y + 20}">nats, by % of {claim.steps:,} steps</text>',
        f'<text class="note end" x="{x + PANEL_WIDTH - 12}" y="{y + 46}">{ASKED.get(task, "")}</text>',
    ]
    for part in range(5):
        value = top * part / 4
        parts.append(f'<path class="grid" d="M{across(0):.1f} {up(value):.1f}H{across(100):.1f}"/>')
        parts.append(f'<text class="note end" x="{across(0) - 6:.1f}" y="{up(value) + 4:.1f}">{value:.3g}</text>')
    for percent in (0, 25, 50, 75, 100):
        parts.append(
            f'<text class="note middle" x="{across(percent):.1f}" y="{y + PANEL_HEIGHT - 12}">{percent}</text>'
        )
    parts.append(f'<path class="axis" d="M{across(0):.1f} {up(0):.1f}H{across(100):.1f}"/>')
    for at, mean, sd in known:  # not joined: what lies between them was not measured
        left, low, high = across(at) - BAND / 2, up(mean - sd), up(mean + sd)
        parts.append(f'<rect class="band" x="{left:.1f}" y="{high:.1f}" width="{BAND}" height="{low - high:.1f}"/>')
        parts.append(f'<path class="baseline" d="M{left:.1f} {up(mean):.1f}h{BAND}"/>')
    if len(curve) > 1:
        parts.append(f'<path class="claim" d="M{"L".join(f"{across(at):.1f} {up(loss):.1f}" for at, loss in curve)}"/>')
    for at, audited in found.items():
        here, error = across(float(at)), audited.standard_error
        parts.append(
            f'<path class="whisker" d="M{here:.1f} {up(audited.loss - error):.1f}V{up(audited.loss + error):.1f}"/>'
        )
        parts.append(
            f'<circle class="audit" cx="{here:.1f}" cy="{up(audited.loss):.1f}" r="4">'
            f"<title>{at} %: {audited.loss:.5g} +- {audited.standard_error:.2g} nats</title></circle>"
        )
    return parts


def _table_row(row: Comparison, y: float) -> list[str]:
    known = row.mean is not None
    figures = ((300, _figure(row.value)), (420, _figure(row.mean)), (510, _figure(row.sd)))
    figures += ((570, str(row.seeds) if known else ""), (680, _figure(row.difference, signed=True)))
    figures += ((770, "" if row.in_sd is None else f"{round(row.in_sd, 1) + 0.0:+.1f}"),)
    parts = [
        f'<path class="line" d="M{MARGIN} {y + 6}h{TABLE_WIDTH}"/>',
        f'<text x="{MARGIN}" y="{y}">{escape(row.name)}</text>',
        *(f'<text class="number" x="{MARGIN + x}" y="{y}">{text}</text>' for x, text in figures if text),
    ]
    if row.in_sd is not None:
        middle, length = MARGIN + 785 + BAR, BAR * min(abs(row.in_sd), WIDEST_IN_SD) / WIDEST_IN_SD
        start = middle if row.in_sd > 0 else middle - length
        parts.append(
            f'<rect class="{_colour(row)}" x="{start:.1f}" y="{y - 9}" width="{length:.1f}" height="10" rx="2"/>'
        )
        parts.append(f'<path class="axis" d="M{middle} {y - 12}v16"/>')
    return parts


def _colour(row: Comparison) -> str:
    higher, lower = row.name.endswith(HIGHER_IS_BETTER), row.name.endswith(LOWER_IS_BETTER)
    if row.in_sd is None or not (higher or lower):
        return "neutral"
    return "better" if (row.in_sd > 0) == higher else "worse"


def _figure(value: float | None, signed: bool = False) -> str:
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):+,}" if signed else f"{int(value):,}"
    return f"{value:+.4g}" if signed else f"{value:.4g}"


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten."""
    power = 10.0 ** _floor_log10(value)
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * (1 - 1e-9))


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])
