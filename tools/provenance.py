"""Where a campaign's designs come from and what its cognition was worth, for `campaign_status` and a resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..database import provenance
from ..database.connection import Reader
from ..evolution.ids import short_id
from ..evolution.models import Campaign
from ..evolution.provenance import ItemUse, Origins, most_helpful, never_used
from ..evolution.text import excerpt
from .answers import number, without_none
from .showing import Shown

NAMED = 5
"""Items of each list in a status."""
HOW_COUNTED = (
    "A candidate counts by what its inspired_by names: cognition (items that were no lessons), experience (lessons, "
    "items that were lessons, nodes besides its parents), both, or neither. In the shares one of both counts half for "
    "each. Best: the tenth of the scored candidates with the highest scores, at least five."
)


async def provenance_summary(reader: Reader, campaign: Campaign) -> dict[str, Any] | None:
    """The shares, and the items that stand out; `None` before the first candidate."""
    everything = await provenance.origins(reader, campaign.id)
    items = await shown_items(reader, campaign)
    if not everything.total and not items:
        return None
    return without_none(
        {
            "all": origin_fields(everything),
            "best": origin_fields(await provenance.origins_of_best(reader, campaign.id)),
            **_notable(items, title_limit=80),
            "whole": f"evolve://campaigns/{short_id('c', campaign.id)}/provenance",
        }
    )


async def provenance_whole(reader: Reader, campaign: Campaign) -> dict[str, Any]:
    """The shares and every item that was shown or named."""
    items = await shown_items(reader, campaign)
    return without_none(
        {
            "campaign": short_id("c", campaign.id),
            "how_counted": HOW_COUNTED,
            "all": origin_fields(await provenance.origins(reader, campaign.id)),
            "best": origin_fields(await provenance.origins_of_best(reader, campaign.id)),
            **_notable(items, title_limit=200),
            "items": [item_fields(item, 200) for item in items],
            "notice": Shown.by(campaign.settings).notice,
        }
    )


async def shown_items(reader: Reader, campaign: Campaign) -> list[ItemUse]:
    """Every item of the campaign's provenance whose title its switches let be seen."""
    shown = Shown.by(campaign.settings)
    return [item for item in await provenance.item_uses(reader, campaign.id) if shown.shows_origin(item.origin)]


def origin_fields(origins: Origins) -> dict[str, Any]:
    """Counts of the four classes, and the three shares in percent."""
    shares = origins.shares()
    counts = {
        "candidates": origins.total,
        "cognition": origins.cognition,
        "experience": origins.experience,
        "both": origins.both,
        "neither": origins.neither,
    }
    if shares is None:
        return counts
    names = ("cognition", "experience", "new")
    return counts | {"shares_percent": {name: round(100 * share, 1) for name, share in zip(names, shares, strict=True)}}


def _notable(items: Sequence[ItemUse], title_limit: int) -> dict[str, Any]:
    lists = {"helped_most": most_helpful(items, NAMED), "never_used": never_used(items, NAMED)}
    return {name: [item_fields(item, title_limit) for item in found] for name, found in lists.items() if found}


def item_fields(item: ItemUse, title_limit: int) -> dict[str, Any]:
    """An item with what became of it. Failures are counted apart: they have no number."""
    gain = item.gain
    return without_none(
        {
            "id": short_id("k", item.id),
            "title": excerpt(item.title, title_limit),
            "retrieved": item.retrieved,
            "used": item.used,
            "failed": item.failed or None,
            "compared": gain.seeds if gain is not None else None,
            "mean_gain": number(gain.value) if gain is not None else None,
            "standard_error": number(gain.stderr) if gain is not None and gain.stderr is not None else None,
        }
    )
