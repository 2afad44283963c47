"""How far a search looks: into its own campaign, those of its research program, or all of the workspace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..database import campaigns
from ..database.connection import Reader
from ..evolution.errors import BadInput
from ..evolution.ids import short_id
from ..evolution.models import Campaign

Scope = Literal["campaign", "program", "all"]
SCOPE = "campaign (default), program (campaigns of its research program too), or all (of this workspace)."


@dataclass(frozen=True)
class Outlook:
    """The campaigns that a search of one of them looks into."""

    home: Campaign
    """The one that asks."""
    scope: Scope
    within: tuple[Campaign, ...]
    """All of them, the one that asks among them, oldest first."""
    domains: tuple[str, ...] | None
    """Names of the domains whose cognition is in view, besides knowledge for every domain; `None` is all of them."""

    @property
    def numbers(self) -> list[int] | None:
        """Theirs; `None` is every campaign."""
        return None if self.scope == "all" else [campaign.id for campaign in self.within]

    def mark(self, campaign_id: int) -> dict[str, Any]:
        """Where a hit comes from, if from elsewhere."""
        if campaign_id == self.home.id:
            return {}
        domain = next((entry.domain_name for entry in self.within if entry.id == campaign_id), self.home.domain_name)
        return {"campaign": short_id("c", campaign_id)} | self.mark_domain(domain)

    def mark_domain(self, domain: str | None) -> dict[str, Any]:
        """The domain of a hit, if it is another than that of the campaign that asks."""
        return {} if domain in (None, self.home.domain_name) else {"domain": domain}


def at_home(home: Campaign) -> Outlook:
    """A campaign alone, with the cognition of its domain."""
    return Outlook(home, "campaign", (home,), (home.domain_name,))


async def outlook(reader: Reader, home: Campaign, scope: Scope) -> Outlook:
    """What a search of a campaign looks into.

    Raises:
        BadInput: the campaign belongs to no research program, but the search asks for it.
    """
    if scope == "campaign":
        return at_home(home)
    if scope == "all":
        return Outlook(home, scope, tuple(await campaigns.every(reader)), None)
    if home.program is None:
        own = short_id("c", home.id)
        raise BadInput(
            f"Expected {own} to belong to a research program, but it has none. Look into scope='all', or make it part "
            f"of one with update_campaign(campaign='{own}', program=...)."
        )
    within = tuple(await campaigns.of_program(reader, home.program))
    return Outlook(home, scope, within, tuple(dict.fromkeys([home.domain_name, *(one.domain_name for one in within)])))


async def of_program(reader: Reader, home: Campaign) -> Outlook:
    """What a sample of a campaign looks into: its program where it has one."""
    return await outlook(reader, home, "campaign" if home.program is None else "program")


Comparable = tuple[str, str, str | None]
"""Domain, its version, and the instance: scores compare within one."""


def comparable(within: Iterable[Campaign]) -> dict[Comparable, list[Campaign]]:
    """Campaigns by what their scores measure."""
    groups: dict[Comparable, list[Campaign]] = {}
    for entry in within:
        groups.setdefault((entry.domain_name, entry.domain_version, entry.instance), []).append(entry)
    return groups


def field_fields(field: Comparable, members: Sequence[Campaign]) -> dict[str, Any]:
    """A group of campaigns whose scores compare, as an answer says it."""
    domain, version, instance = field
    named = {"domain": domain, "version": version} | ({"instance": instance} if instance is not None else {})
    return named | {"campaigns": [short_id("c", entry.id) for entry in members]}
