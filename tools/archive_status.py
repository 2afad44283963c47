"""The MAP-Elites archive of a campaign in a few lines, for `campaign_status`."""

from __future__ import annotations

import math
from typing import Any

from ..database.connection import Reader
from ..database.map_elites import appraisal, cells
from ..database.map_elites import view as archive_view
from ..database.population import ScoredNodes
from ..evolution.models import Campaign
from .answers import number, without_none
from .drawing import uses_archive


async def archive_fields(reader: Reader, campaign: Campaign) -> dict[str, Any] | None:
    """Islands, measures, coverage and QD score, in pyribs' words; `None` where the campaign keeps no archive.

    Coverage is the share of cells that any island has filled. The QD score (Pugh, Soros and Stanley 2016) is the sum of
    the best score of each filled cell over the lowest score of the campaign, its offset.
    """
    archive = await cells.find(reader, campaign.id) if uses_archive(campaign) else None
    if archive is None:
        return None
    best = await archive_view.best_of_cells(reader, campaign.id)
    lowest, _ = await ScoredNodes(reader, campaign.id).score_range() or (0.0, 0.0)
    return without_none(
        {
            "islands": [
                without_none(
                    {
                        "island": island.number,
                        "nodes": island.nodes,
                        "immigrants": island.immigrants or None,
                        "elites": island.elites,
                        "best_score": island.best,
                    }
                )
                for island in await archive_view.islands(reader, archive)
            ],
            "measures": {
                measure.name: [number(bounds.low), number(bounds.high)] if bounds is not None else None
                for measure, bounds in zip(archive.form.measures, archive.ranges, strict=True)
            },
            "bins": archive.form.bins,
            "filled_cells": len(best),
            "coverage": number(len(best) / archive.form.cells),
            "qd_score": number(math.fsum(score - lowest for score in best)),
            "qd_score_offset": number(lowest),
            "waiting": await appraisal.queue_length(reader, campaign.id) or None,
        }
    )
