"""What a score is relative to, in answers: the baseline's statistics, where a domain compares with them."""

from __future__ import annotations

from typing import Any

from ..database import baselines, campaigns
from ..database.connection import Reader
from ..domains.fitness import RelativeFitness
from ..domains.loader import find_domain
from ..evolution.errors import DomainError, NotFound
from .answers import number, without_none


def relative_fields(relative: RelativeFitness) -> dict[str, Any]:
    """How a relative score is made, for whoever chooses a domain."""
    return without_none(
        {
            "form": relative.form,
            "baseline_scores": relative.baseline_scores,
            "terms": {
                name: without_none(
                    {
                        "direction": term.direction,
                        "weight": term.weight,
                        "min_sd": term.min_sd,
                        "scale": term.scale if relative.form == "sigmoid" else None,
                        "stages": list(term.stages) or None,
                    }
                )
                for name, term in relative.terms.items()
            },
            "penalties": {
                name: f"{fine.weight:g} * log2(x / {fine.above:g})" for name, fine in relative.penalties.items()
            }
            or None,
            "paired": relative.paired or None,
        }
    )


async def reference_fields(reader: Reader, campaign_id: int, stage: str | None) -> dict[str, Any] | None:
    """What the baseline came to in the metrics that the score of a stage is made of; `None` where nothing is relative
    to it, or the domain is no longer there to tell."""
    known = await baselines.statistics(reader, campaign_id, stage) if stage is not None else {}
    if not known:
        return None
    try:
        relative = find_domain((await campaigns.get(reader, campaign_id)).domain).spec.fitness.relative
    except (DomainError, NotFound):
        return None
    return {
        name: {"mean": number(known[name].mean), "sd": number(known[name].sd), "seeds": len(known[name].by_seed)}
        for name in (relative.metrics if relative is not None else ())
        if name in known
    }
