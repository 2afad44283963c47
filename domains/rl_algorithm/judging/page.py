"""What the pictures have in common: page, palette, numbers, and the words for how sure a gain is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from judging.gains import Baseline, Gain, Interval

MARGIN, HEADER = 32, 104

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
  .own-band { fill: #b8402a; fill-opacity: 0.15; }
  .own { stroke: #b8402a; stroke-width: 2; fill: none; }
  .dot { fill: #b8402a; }
  .warm { stroke: #8b979e; stroke-dasharray: 4 3; }
  .better { fill: #3f8a4f; }
  .worse { fill: #b8402a; }
  .neutral { fill: #8b979e; }
  .whisker { stroke: #22303a; stroke-width: 2; }
  .mean { fill: #22303a; }
"""


def page(width: float, height: float, title: str, note: str) -> list[str]:
    """The beginning of a picture; `</svg>` ends it."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#f6f4ef"/>',
        f'<text class="title" x="{MARGIN}" y="34">{escape(title)}</text>',
        f'<text class="note" x="{MARGIN}" y="54">{escape(note)}</text>',
    ]


def in_words(gains: Sequence[Gain], spread: Interval | None, baseline: Mapping[str, Baseline]) -> str:
    """How much better than the baseline, and whether more than by chance."""
    if not baseline:
        return "Nothing to compare with: this is the baseline, or it has not been measured."
    if not gains:
        return "The baseline has not run with this seed, so the gain is over its mean and no runs are paired."
    if spread is None:
        return "Every run gained the same: there is no interval."
    told = f"Gain in pass@1 over the baseline, {spread.runs} paired runs: {signed(spread.mean)} "
    told += f"(95 % interval {signed(spread.low)} to {signed(spread.high)}, Student's t with {spread.runs - 1} df)"
    if spread.low > 0:
        return f"{told}: better."
    return f"{told}: worse." if spread.high < 0 else f"{told}: inside the noise."


def plain(value: float | None) -> str:
    """Three decimals for shares, fewer digits for what is large."""
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def signed(value: float | None) -> str:
    """With its sign, and no -0."""
    if value is None:
        return ""
    return f"{round(value, 3) + 0.0:+.3f}" if abs(value) < 100 else f"{value:+.4g}"
