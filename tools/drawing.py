"""The draw that begins a round: a parent by the campaign's sampler, and references for context."""

from __future__ import annotations

import random
from typing import Any

from ..database import campaigns, nodes
from ..database.connection import Reader, Transaction
from ..database.map_elites import appraisal
from ..database.map_elites import view as archive_view
from ..database.population import ScoredNodes
from ..database.workspace import Workspace
from ..domains.loader import find_domain
from ..evolution.ids import short_id
from ..evolution.map_elites import ArchiveForm
from ..evolution.models import Campaign, Node
from ..evolution.samplers import MAP_ELITES
from ..evolution.sampling import Choice, draw
from .answers import without_none
from .samplers import Installed, check_membership, find_sampler


def archive_form(campaign: Campaign) -> ArchiveForm:
    """What a campaign's archive is built for: the measures of its domain, and islands and bins of its options.

    Raises:
        NotFound: the domain is gone.
        DomainError: it breaks the contract.
    """
    options = campaign.settings.sampling
    return ArchiveForm(find_domain(campaign.domain).spec.archive_measures(), options.islands, options.bins)


async def prepare_draw(workspace: Workspace, campaign_id: int) -> None:
    """What a draw needs and must not be done while the database is locked: the archive catches up, and the package
    that brings the sampler is imported.

    Raises:
        SamplerError: it cannot be.
    """
    campaign = await campaigns.get(workspace.read, campaign_id)
    find_sampler(campaign.settings.sampler, campaign.settings.sampling)
    if campaign.settings.sampler == MAP_ELITES:
        await appraisal.catch_up(workspace.database, campaign.id, archive_form(campaign))


async def draw_parent(tx: Transaction, campaign: Campaign, references: int) -> list[Choice]:
    """The parent, whose visit is counted, then at most so many references; nothing where nothing has scored.

    Seeded by the campaign's seed and by how many were drawn before, so that a campaign can be replayed.

    Raises:
        SamplerError: an installed sampler fails.
    """
    settings = campaign.settings
    options = settings.sampling
    sampler = find_sampler(settings.sampler, options)
    rng = random.Random(f"{settings.seed}:{campaign.samples_drawn}")  # noqa: S311
    islands = options.islands if settings.sampler == MAP_ELITES else 0
    population = ScoredNodes(tx, campaign.id, draw_timeout_s=options.draw_timeout_s, islands=islands)
    choices = await draw(sampler, population, options, references, rng)
    if isinstance(sampler, Installed):
        await check_membership(tx, campaign.id, sampler.name, choices)
    if choices:
        await nodes.count_visit(tx, campaign.id, choices[0].member.id, choices[0].island)
    return choices


async def origin_fields(reader: Reader, campaign: Campaign, node: Node) -> dict[str, Any]:
    """Where a drawn node comes from: its campaign where it is another one, its island and the bins of its cell."""
    place = await archive_view.place_of(reader, campaign.id, node.id) if uses_archive(campaign) else None
    foreign = node.campaign_id != campaign.id
    return without_none(
        {
            "campaign": short_id("c", node.campaign_id) if foreign else None,
            "island": place.island if place is not None else None,
            "cell": list(place.bins) if place is not None and place.bins is not None else None,
        }
    )


def uses_archive(campaign: Campaign) -> bool:
    """Whether a campaign draws from a MAP-Elites archive now."""
    return campaign.settings.sampler == MAP_ELITES
