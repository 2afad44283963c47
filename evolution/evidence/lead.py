"""Whether the best node leads the next ones by more than the noise of its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .comparison import MORE_SEEDS, Difference, SeedScores, certainty, difference

MANY = 10
"""From so many scored nodes on the best of them is told to be partly the luckiest."""
MOST_SEEDS = 64
"""Of one experiment."""


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
    found = difference(rivals[0].scores, best.scores)
    close = [rival.name for rival in rivals[1:] if difference(rival.scores, best.scores).inside_noise]
    more = f"; its lead over {', '.join(close)} is inside the noise" if close else ""
    by_luck = scored >= MANY and found.without != "same every time"
    curse = f" The best of {scored} is partly the luckiest: expect less with fresh seeds." if by_luck else ""
    return f"{_over(found, best.name, rivals[0].name)}{more}.{curse}"


def _over(found: Difference, best: str, rival: str) -> str:
    unknown = "not known: " if found.without == "few seeds" else ""
    gap = f"{'leads' if found.mean > 0 else 'trails'} {rival} by {abs(found.mean):.4g}"
    lead_ = f"{best} {gap}" if found.mean else f"{best} and {rival} score the same"
    count, other = found.seeds
    seeds = f"{count} shared seed{'s' if count > 1 else ''}" if found.paired else f"{other} and {count} different seeds"
    return f"{unknown}{lead_} ({seeds}), {certainty(found, rival, best)}"


def _another_stage(best: Standing, other: Standing) -> str:
    seeds = min(max(len(best.scores), MORE_SEEDS), MOST_SEEDS)
    return (
        f"not known: {best.name} was scored at stage {best.stage} and {other.name} at {other.stage}, which do not "
        f"compare; promote_node(node='{other.name}', stage='{best.stage}', seeds={seeds})."
    )
