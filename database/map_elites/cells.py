"""The cells of an archive: which node is the best of each, kept true in the transaction that changes a score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ...evolution.map_elites import ArchiveForm, Measure, Range, cell_of
from ..connection import Reader, Transaction

MEASURES = ("measure_0", "measure_1", "measure_2", "measure_3")
Values = Sequence[float | None]
"""Raw measures of a node, in the order of the form; `None` where its runs do not tell."""


@dataclass(frozen=True)
class Archive:
    """What is stored about one archive besides its nodes."""

    campaign_id: int
    form: ArchiveForm
    ranges: tuple[Range | None, ...]
    """`None` until the first value has come."""


async def find(reader: Reader, campaign_id: int) -> Archive | None:
    """The archive of a campaign, where it keeps one."""
    row = await reader.one("SELECT form_json FROM archives WHERE campaign_id = ?", (campaign_id,))
    if row is None:
        return None
    form = form_of(row["form_json"])
    rows = await reader.all("SELECT measure, low, high FROM archive_ranges WHERE campaign_id = ?", (campaign_id,))
    stored = {row["measure"]: Range(row["low"], row["high"]) for row in rows}
    return Archive(campaign_id, form, tuple(_range(measure, stored.get(n)) for n, measure in enumerate(form.measures)))


def form_of(text: str) -> ArchiveForm:
    """A form as it is stored."""
    fields = json.loads(text)
    return ArchiveForm(tuple(Measure(**measure) for measure in fields.pop("measures")), **fields)


def form_json(form: ArchiveForm) -> str:
    """A form to store."""
    return json.dumps(asdict(form))


def _range(measure: Measure, stored: Range | None) -> Range | None:
    fixed = measure.low is not None and measure.high is not None
    return Range(measure.low, measure.high) if fixed else stored  # pyright: ignore[reportArgumentType]


async def place(tx: Transaction, archive: Archive, node_id: int, score: float | None, values: Values) -> Archive:
    """A node's score and measures, on every island where it lives: it leaves its cell, where the next best takes its
    place, and competes for the one that it falls into now. Returns the archive, whose ranges may have grown."""
    before = await tx.all(
        "SELECT island, cell FROM islanders WHERE campaign_id = ? AND node_id = ?", (archive.campaign_id, node_id)
    )
    grown = await _grow(tx, archive, values)
    cell = _cell(grown, values)
    padded = [*values, *[None] * (len(MEASURES) - len(values))]
    await tx.execute(
        f"UPDATE islanders SET is_measured = 1, score = ?, cell = ?, {', '.join(f'{name} = ?' for name in MEASURES)}"
        " WHERE campaign_id = ? AND node_id = ?",
        (score, cell, *padded, archive.campaign_id, node_id),
    )
    if grown.ranges != archive.ranges:
        await rebin(tx, grown)
        return grown
    for row in before:
        if row["cell"] is not None:
            await _vacate(tx, archive.campaign_id, row["island"], row["cell"], node_id)
        if score is not None and cell is not None:
            await claim(tx, archive.campaign_id, row["island"], cell, node_id, score)
    return grown


def _cell(archive: Archive, values: Values) -> int | None:
    known = [(value, bounds) for value, bounds in zip(values, archive.ranges, strict=True)]
    if any(value is None or bounds is None for value, bounds in known):
        return None
    pairs = [(value, bounds) for value, bounds in known if value is not None and bounds is not None]
    return cell_of([value for value, _ in pairs], [bounds for _, bounds in pairs], archive.form.bins)


async def _grow(tx: Transaction, archive: Archive, values: Values) -> Archive:
    """The archive with every value inside its ranges, but for those that are fixed."""
    ranges = list(archive.ranges)
    for number, (measure, value) in enumerate(zip(archive.form.measures, values, strict=True)):
        if measure.low is not None or value is None:
            continue
        ranges[number] = (ranges[number] or Range(value, value)).grown(value, measure.possible)
        if ranges[number] != archive.ranges[number]:
            await tx.execute(
                "INSERT INTO archive_ranges (campaign_id, measure, low, high) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET low = excluded.low, high = excluded.high",
                (archive.campaign_id, number, *(ranges[number] or ())),
            )
    return Archive(archive.campaign_id, archive.form, tuple(ranges))


async def claim(tx: Transaction, campaign_id: int, island: int, cell: int, node_id: int, score: float) -> None:
    """A node becomes the elite of a cell where it is better than who is; the older one among equals."""
    await tx.execute(
        "INSERT INTO cells (campaign_id, island, cell, node_id, score) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET node_id = excluded.node_id, score = excluded.score"
        " WHERE excluded.score > score OR excluded.score = score AND excluded.node_id < node_id",
        (campaign_id, island, cell, node_id, score),
    )


async def _vacate(tx: Transaction, campaign_id: int, island: int, cell: int, node_id: int) -> None:
    if not await tx.execute(
        "DELETE FROM cells WHERE campaign_id = ? AND island = ? AND cell = ? AND node_id = ?",
        (campaign_id, island, cell, node_id),
    ):
        return
    await tx.execute(
        "INSERT INTO cells (campaign_id, island, cell, node_id, score)"
        " SELECT campaign_id, island, cell, node_id, score FROM islanders"
        " WHERE campaign_id = ? AND island = ? AND cell = ? AND score IS NOT NULL ORDER BY score DESC, node_id LIMIT 1",
        (campaign_id, island, cell),
    )


async def rebin(tx: Transaction, archive: Archive) -> None:
    """Every node into the cell that its measures fall into now: one statement from the raw measures, and one that takes
    the best of each cell."""
    digits: list[str] = []
    parameters: list[float] = []
    for number, bounds in enumerate(archive.ranges):
        digit, values = digit_sql(MEASURES[number], bounds, archive.form.bins)
        digits.append(f"{archive.form.bins**number} * ({digit})")
        parameters += values
    await tx.execute(
        f"UPDATE islanders SET cell = {' + '.join(digits)} WHERE campaign_id = ? AND is_measured",
        (*parameters, archive.campaign_id),
    )
    await tx.execute("DELETE FROM cells WHERE campaign_id = ?", (archive.campaign_id,))
    await tx.execute(
        "INSERT INTO cells (campaign_id, island, cell, node_id, score)"
        " SELECT campaign_id, island, cell, node_id, score FROM ("
        "  SELECT *, row_number() OVER (PARTITION BY island, cell ORDER BY score DESC, node_id) AS rank FROM islanders"
        "  WHERE campaign_id = ? AND score IS NOT NULL AND cell IS NOT NULL) WHERE rank = 1",
        (archive.campaign_id,),
    )


def digit_sql(column: str, bounds: Range | None, bins: int) -> tuple[str, list[float]]:
    """`Range.bin_of` as SQL, with its parameters; NULL where the measure is."""
    if bounds is None:
        return "NULL", []
    low, high = bounds
    if low == high:
        return f"CASE WHEN {column} IS NULL THEN NULL ELSE 0 END", []
    inside = f"min(CAST(({column} / 2 - ? / 2) / (? / 2 - ? / 2) * {bins} AS INTEGER), {bins - 1})"
    return (
        f"CASE WHEN {column} IS NULL THEN NULL WHEN {column} <= ? THEN 0 WHEN {column} >= ? THEN {bins - 1}"
        f" ELSE {inside} END",
        [low, high, low, high, low],
    )
