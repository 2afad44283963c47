"""Campaigns as the arms of an experiment on the search itself: which are replicates, and what tells arms apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .errors import BadInput
from .ids import short_id
from .models import Campaign, CampaignSettings

NOT_OF_THE_ARM = {"seed", "budget"}
"""Settings in which replicates may differ: a bound says when a search ends, not how it searches."""


class Arm(NamedTuple):
    """Campaigns of equal settings."""

    label: str
    campaigns: tuple[Campaign, ...]


def arms(campaigns: Sequence[Campaign]) -> list[Arm]:
    """Campaigns grouped by their settings, each group labelled by the settings in which the groups differ.

    Raises:
        BadInput: their scores do not compare.
    """
    _check_comparable(campaigns)
    groups: dict[str, list[Campaign]] = {}
    for campaign in {campaign.id: campaign for campaign in campaigns}.values():
        key = campaign.settings.model_dump_json(exclude=NOT_OF_THE_ARM)
        groups.setdefault(key, []).append(campaign)
    flat = [_flat(members[0].settings) for members in groups.values()]
    differing = [name for name in flat[0] if len({str(settings[name]) for settings in flat}) > 1]
    return [
        Arm(_label(settings, differing), tuple(members))
        for settings, members in zip(flat, groups.values(), strict=True)
    ]


def _check_comparable(campaigns: Sequence[Campaign]) -> None:
    first = campaigns[0]
    for other in campaigns[1:]:
        for what, a, b in (
            ("domain", first.domain_name, other.domain_name),
            ("version of the domain", first.domain_version, other.domain_version),
            ("instance", first.instance, other.instance),
        ):
            if a != b:
                one, two = short_id("c", first.id), short_id("c", other.id)
                raise BadInput(
                    f"Expected campaigns of one {what}, since other scores do not compare, but {one} has {a} and {two} "
                    f"has {b}. Compare them apart."
                )


def _flat(settings: CampaignSettings) -> dict[str, Any]:
    """Every setting of an arm by name, those of the sampling beside the others."""
    whole = settings.model_dump(mode="json", exclude=NOT_OF_THE_ARM)
    inner = whole.pop("sampling")
    return {"sampler": whole.pop("sampler"), **whole, **inner}


def _label(settings: dict[str, Any], differing: Sequence[str]) -> str:
    """The sampler by its name, other settings where they are not the default; all that differ where none is left."""
    defaults = _flat(CampaignSettings())
    telling = [name for name in differing if name == "sampler" or settings[name] != defaults[name]]
    if not differing:
        return str(settings["sampler"])
    return ", ".join(_words(name, settings[name]) for name in telling or differing)


def _words(name: str, value: Any) -> str:
    if name == "sampler":
        return str(value)
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return f"{words} {'on' if value else 'off'}"
    return f"{words} {'unset' if value is None else value}"
