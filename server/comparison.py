"""The command `compare`: score against round of several campaigns, as tables and as a drawing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..database import campaigns, courses
from ..database.connection import Reader
from ..database.workspace import open_workspace
from ..evolution.arms import Arm, arms
from ..evolution.curves import ArmSummary, Curve, Point, arm_curve, common_span, summarise
from ..evolution.errors import NotFound
from ..evolution.ids import parse_id, short_id
from ..evolution.models import Campaign
from ..evolution.text import inert
from .chart import Series, draw
from .export import existing_workspace

ROWS = 12
"""Rounds in the table for people."""


@dataclass(frozen=True)
class ComparedArm:
    """An arm with its curve and what it came to."""

    arm: Arm
    curve: Curve
    summary: ArmSummary


@dataclass(frozen=True)
class Comparison:
    """Arms on one domain, at one stage."""

    title: str
    stage: str | None
    arms: list[ComparedArm]


async def compare_campaigns(home: Path, names: Sequence[str], output: Path, stage: str | None, *, as_json: bool) -> int:
    """Print the comparison and write the drawing.

    Raises:
        BadInput: the campaigns' scores do not compare.
        NotFound: there is no such workspace or campaign.
    """
    numbers = [parse_id(name, "c") for name in names]
    async with open_workspace(existing_workspace(home)) as workspace:
        comparison = await compared(workspace.read, numbers, stage)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(drawing(comparison), encoding="utf-8")
    if as_json:
        print(json.dumps(_fields(comparison, output), indent=1))
    else:
        _show(comparison, output)
    return 0


async def compared(reader: Reader, numbers: Sequence[int], stage: str | None) -> Comparison:
    """Campaigns grouped into arms, with their curves at a stage; `None` is where most of their nodes stand.

    Raises:
        BadInput: their scores do not compare.
        NotFound: one of them does not exist.
    """
    found = [await campaigns.get(reader, number) for number in numbers]
    groups = arms(found)
    await _check_stage(reader, numbers, stage)
    stage = stage or await courses.usual_stage(reader, numbers)
    by_arm = [[await courses.course_of(reader, entry.id, stage) for entry in arm.campaigns] for arm in groups]
    curves = [arm_curve(entries) for entries in by_arm]
    span = common_span([entry for entries in by_arm for entry in entries])
    shared = min(curve.rounds for curve in curves)
    first = found[0]
    return Comparison(
        title=_title(first, stage),
        stage=stage,
        arms=[
            ComparedArm(arm, curve, summarise(entries, curve, span, shared))
            for arm, entries, curve in zip(groups, by_arm, curves, strict=True)
        ],
    )


def _title(campaign: Campaign, stage: str | None) -> str:
    instance = f", instance {campaign.instance}" if campaign.instance is not None else ""
    return f"{campaign.domain_name}, version {campaign.domain_version}{instance}" + (
        f", stage {stage}" if stage else ""
    )


async def _check_stage(reader: Reader, numbers: Sequence[int], stage: str | None) -> None:
    known = await courses.scored_stages(reader, numbers) if stage is not None else []
    if stage is not None and stage not in known:
        raise NotFound(
            f"Expected a stage at which a candidate has scored ({', '.join(known) or 'there is none yet'}), but got "
            f"{stage!r}."
        )


def drawing(comparison: Comparison) -> str:
    """The comparison as an SVG."""
    return draw(comparison.title, [Series(_legend(entry), entry.curve) for entry in comparison.arms])


def _legend(entry: ComparedArm) -> str:
    return f"{entry.arm.label} ({_members(entry.arm)}; {entry.curve.band})"


def _members(arm: Arm) -> str:
    names = [short_id("c", campaign.id) for campaign in arm.campaigns]
    return ", ".join(names) if len(names) <= 5 else f"{len(names)} campaigns"


def _fields(comparison: Comparison, output: Path) -> dict[str, Any]:
    return {
        "title": comparison.title,
        "stage": comparison.stage,
        "arms": [_arm_fields(entry) for entry in comparison.arms],
        "drawing": str(output),
    }


def _arm_fields(entry: ComparedArm) -> dict[str, Any]:
    summary = entry.summary
    return {
        "label": entry.arm.label,
        "campaigns": [short_id("c", campaign.id) for campaign in entry.arm.campaigns],
        "band": entry.curve.band,
        "rounds": list(summary.rounds),
        "final": summary.final._asdict() if summary.final is not None else None,
        "best": summary.best,
        "reached": {f"{fraction:.0%}": round_ for fraction, round_ in summary.reached.items()},
        "area": summary.area,
        "failures": summary.failures,
        "candidates": summary.trials,
        "curve": [point._asdict() for point in entry.curve.points],
    }


def _show(comparison: Comparison, output: Path) -> None:
    """One column an arm: the curve, then what it came to."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"Best score so far on {inert(comparison.title)}"))
    table = Table("round")
    for entry in comparison.arms:
        table.add_column(Text(inert(entry.arm.label)), overflow="fold")
    for number in _rounds(max(entry.curve.rounds for entry in comparison.arms)):
        name = "0, the baseline" if number == 0 else str(number)
        table.add_row(name, *(Text(_cell(entry.curve.at(number))) for entry in comparison.arms))
    table.add_section()
    measures = [_measures(entry) for entry in comparison.arms]
    for name in measures[0]:
        table.add_row(name, *(Text(told[name]) for told in measures))
    console.print(table)
    console.print(
        "A curve ends with the shortest campaign of its arm. Reached: rounds to that part of the way from the baseline "
        "to the best of all. Area: mean part of that way over the rounds that all arms have."
    )
    console.print(Text(f"Wrote {output}."))


def _rounds(last: int) -> list[int]:
    """Few enough for a screen, the first and the last among them."""
    if last < ROWS:
        return list(range(last + 1))
    return sorted({round(place * last / (ROWS - 1)) for place in range(ROWS)})


def _cell(point: Point | None) -> str:
    if point is None:
        return ""
    value = f"{point.value:.7g}"
    return value if point.low == point.high else f"{value}\n{point.low:.7g} to {point.high:.7g}"


def _measures(entry: ComparedArm) -> dict[str, str]:
    """Name of a row to what stands there."""
    summary = entry.summary
    fewest, most = summary.rounds
    failed = sum(summary.failures.values())
    by_outcome = ", ".join(f"{count} {name}" for name, count in summary.failures.items())
    return {
        "campaigns": _members(entry.arm),
        "band": entry.curve.band,
        "rounds": str(fewest) if fewest == most else f"{fewest} to {most}",
        "final best": _cell(summary.final) or "nothing scored",
        "best of all": f"{summary.best:.10g}" if summary.best is not None else "-",
        **{
            f"reached {fraction:.0%}": str(round_) if round_ is not None else "-"
            for fraction, round_ in summary.reached.items()
        },
        "area": f"{summary.area:.3f}" if summary.area is not None else "-",
        "failures": f"{failed} of {summary.trials}" + (f": {by_outcome}" if failed else ""),
    }
