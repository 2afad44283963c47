"""Campaigns: their settings, and what they have used."""

from __future__ import annotations

import time

from ..evolution.budgets import BudgetUse
from ..evolution.errors import NotFound
from ..evolution.ids import short_id
from ..evolution.models import Campaign, CampaignSettings
from . import events
from .connection import Reader, Row, Transaction


async def add(
    tx: Transaction,
    *,
    name: str,
    goal: str,
    domain: str,
    domain_name: str,
    domain_version: str,
    instance: str | None,
    settings: CampaignSettings,
    program: str | None = None,
) -> int:
    """Store a new campaign and return its number."""
    campaign_id = await tx.insert(
        "INSERT INTO campaigns (name, goal, program, domain, domain_name, domain_version, instance, settings_json,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (name, goal, program, domain, domain_name, domain_version, instance, settings.model_dump_json(), time.time()),
    )
    await events.record(tx, campaign_id, "campaign_started", short_id("c", campaign_id), name=name)
    return campaign_id


async def get(reader: Reader, campaign_id: int) -> Campaign:
    """The campaign of that number.

    Raises:
        NotFound: there is none.
    """
    row = await reader.one("SELECT * FROM campaigns WHERE id = ?", (campaign_id,))
    if row is None:
        known = await reader.all("SELECT id FROM campaigns ORDER BY id DESC LIMIT 5")
        others = ", ".join(short_id("c", other["id"]) for other in known)
        raise NotFound(
            f"Expected an existing campaign, but there is no {short_id('c', campaign_id)}. "
            + (f"The latest are {others}." if others else "There is none yet: call start_campaign.")
        )
    return _campaign(row)


async def recent(reader: Reader, limit: int = 50, offset: int = 0) -> list[Campaign]:
    """Campaigns, newest first."""
    rows = await reader.all("SELECT * FROM campaigns ORDER BY id DESC LIMIT ? OFFSET ?", (limit, offset))
    return [_campaign(row) for row in rows]


async def of_program(reader: Reader, program: str) -> list[Campaign]:
    """The campaigns of a research program, oldest first."""
    rows = await reader.all("SELECT * FROM campaigns WHERE program = ? ORDER BY id", (program,))
    return [_campaign(row) for row in rows]


async def every(reader: Reader) -> list[Campaign]:
    """All campaigns of the workspace, oldest first."""
    return [_campaign(row) for row in await reader.all("SELECT * FROM campaigns ORDER BY id")]


async def set_program(tx: Transaction, campaign_id: int, program: str | None) -> None:
    """Make a campaign part of a research program, or take it out of its own."""
    await tx.execute("UPDATE campaigns SET program = ? WHERE id = ?", (program, campaign_id))
    await events.record(tx, campaign_id, "campaign_changed", short_id("c", campaign_id))


async def change_settings(tx: Transaction, campaign_id: int, settings: CampaignSettings) -> None:
    """Replace the settings of a campaign."""
    await tx.execute("UPDATE campaigns SET settings_json = ? WHERE id = ?", (settings.model_dump_json(), campaign_id))
    await events.record(tx, campaign_id, "campaign_changed", short_id("c", campaign_id))


async def use(reader: Reader, campaign: Campaign, now: float) -> BudgetUse:
    """What a campaign has used of its budget at time `now`."""
    row = await reader.one(
        "SELECT cpu_seconds, gpu_seconds, experiments, (SELECT ordinal FROM nodes WHERE campaign_id = c.id"
        " ORDER BY id DESC LIMIT 1) AS nodes FROM campaigns AS c WHERE id = ?",
        (campaign.id,),
    )
    best = await reader.one(
        "SELECT id, ordinal, score, metric_score IS NOT NULL AND quality IS NULL AS unjudged FROM nodes"
        " WHERE campaign_id = ? AND score IS NOT NULL ORDER BY score DESC, id LIMIT 1",
        (campaign.id,),
    )
    not_concluded = await reader.value(
        "SELECT count(*) FROM nodes WHERE campaign_id = ? AND id > ? AND (is_baseline OR outcome IS NULL"
        " OR outcome IN ('cancelled', 'lost', 'infrastructure_error'))",
        (campaign.id, best["id"] if best is not None else 0),
    )
    assert row is not None
    return BudgetUse(
        experiments=row["experiments"],
        rounds=(row["nodes"] or 0) - 1,
        cpu_seconds=row["cpu_seconds"],
        gpu_seconds=row["gpu_seconds"],
        wall_seconds=now - campaign.created_at,
        best_score=best["score"] if best is not None else None,
        since_best=(row["nodes"] or 0) - (best["ordinal"] if best is not None else 0) - not_concluded,
        best_unjudged=best is not None and bool(best["unjudged"]),
    )


def _campaign(row: Row) -> Campaign:
    return Campaign(
        id=row["id"],
        name=row["name"],
        goal=row["goal"],
        program=row["program"],
        domain=row["domain"],
        domain_name=row["domain_name"],
        domain_version=row["domain_version"],
        instance=row["instance"],
        settings=CampaignSettings.model_validate_json(row["settings_json"]),
        samples_drawn=row["samples_drawn"],
        cpu_seconds=row["cpu_seconds"],
        gpu_seconds=row["gpu_seconds"],
        created_at=row["created_at"],
    )
