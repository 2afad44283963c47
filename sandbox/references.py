"""The early-stop rules of a job, with what the campaign's baseline told for those that compare with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..database import progress
from ..database.connection import Reader
from ..domains.contract import DomainSpec
from ..domains.stops import StopSpec
from ..evolution.early_stop import Reference, StopRule
from ..evolution.models import Node
from ..evolution.progress import Progress
from ..evolution.statistics import mean


async def stop_rules(reader: Reader, spec: DomainSpec, stage: str, node: Node) -> tuple[StopRule, ...]:
    """What ends a run of this node at this stage early. The baseline is not measured by itself."""
    chosen = [rule for rule in spec.stop if rule.at_stage(stage) and not (rule.needs_baseline and node.is_baseline)]
    told: Sequence[Progress] = ()
    if any(rule.needs_baseline for rule in chosen):
        told = await progress.of_baseline(reader, node.campaign_id, stage)
    return tuple(replace(rule.resolved(), reference=reference(rule, told)) for rule in chosen)


def reference(rule: StopSpec, told: Sequence[Progress]) -> Reference | None:
    """What the baseline's runs told of a metric at the share at which a candidate is judged; `None` where none did."""
    if not rule.needs_baseline or rule.at is None:
        return None
    values = _values_at(told, rule.metric or "", rule.at)
    if not values:
        return None
    over_seeds = mean(values)
    sd = over_seeds.stderr * math.sqrt(len(values)) if over_seeds.stderr is not None else 0.0
    controls = _values_at(told, rule.control, rule.at) if rule.control is not None else []
    control = mean(controls).value if controls else None
    return Reference(over_seeds.value, max(sd, rule.min_sd or 0.0), len(values), control)


def _values_at(told: Sequence[Progress], metric: str, share: float) -> list[float]:
    return [value for run in told if (value := _value_at(run, metric, share)) is not None]


def _value_at(run: Progress, metric: str, share: float) -> float | None:
    """The first value that a run told when it had come so far, as a candidate's is taken too."""
    reached = (point for point in run.points if point.share is not None and point.share >= share)
    return next((point.values[metric] for point in reached if metric in point.values), None)
