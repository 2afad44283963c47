"""Whether the best node leads the next ones by more than the noise of its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .comparison import MORE_SEEDS, SeedScores, certainty, difference

MANY = 10
"""From so many scored nodes on the best of them is told to be partly the luckiest."""


@dataclass(frozen=True)
class Standing:
    """A node on the leaderboard."""

    name: str
    """Its id."""
    stage: str
    """Where its score is from."""
    scores: SeedScores
    """There, at least one."""


def lead(ranking: Sequence[Standing], scored: int) -> str | None:
    """What is known of the lead of the first of the best nodes; `None` where there is no second.

    The best of many scores is high partly because it is the best of many (the winner's curse), which an interval over
    the same seeds does not show; the sentence says so.

    Args:
        ranking: the best few, best first.
        scored: how many scored nodes they are the best of.
    """
    if len(ranking) < 2:
        return None
    best, *others = ranking
    rivals = [other for other in others if other.stage == best.stage]
    if not rivals:
        return _another_stage(best, others[0])
    close = [rival.name for rival in rivals[1:] if difference(rival.scores, best.scores).inside_noise]
    more = f", and so {'are' if len(close) > 1 else 'is'} {', '.join(close)}" if close else ""
    curse = f" The best of {scored} is partly the luckiest: expect less with fresh seeds." if scored >= MANY else ""
    return f"{_over(best, rivals[0])}{more}.{curse}"


def _over(best: Standing, rival: Standing) -> str:
    found = difference(rival.scores, best.scores)
    unknown = "not known: " if found.without == "few seeds" else ""
    if found.mean == 0:
        lead_ = f"{best.name} and {rival.name} score the same"
    else:
        lead_ = f"{best.name} {'leads' if found.mean > 0 else 'trails'} {rival.name} by {abs(found.mean):.4g}"
    count, other = found.seeds
    seeds = f"{count} shared seed{'s' if count > 1 else ''}" if found.paired else f"{other} and {count} different seeds"
    return f"{unknown}{lead_} ({seeds}), {certainty(found, rival.name, best.name)}"


def _another_stage(best: Standing, other: Standing) -> str:
    return (
        f"not known: {best.name} was scored at stage {best.stage} and {other.name} at {other.stage}, which do not "
        f"compare; promote_node(node='{other.name}', stage='{best.stage}', seeds={max(len(best.scores), MORE_SEEDS)})."
    )
