"""Diversity: how a few hits are chosen out of many so that they are not one answer several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def maximal_marginal_relevance(
    relevance: Sequence[float], similarity: Callable[[int, int], float], diversity: float, limit: int
) -> list[int]:
    """Positions of the chosen candidates, in the order of choice.

    Each choice maximises (1 - diversity) * relevance - diversity * (similarity to the nearest one chosen before), with
    lambda = 1 - diversity. Among equals the earlier candidate wins. (Carbonell and Goldstein, "The use of MMR,
    diversity-based reranking for reordering documents and producing summaries", SIGIR 1998.)

    Args:
        relevance: one number per candidate, on the scale of `similarity`.
        similarity: of two candidates, by position; 1 for equal ones.
        diversity: 0 (relevance alone) to 1 (after the first, unlikeness alone).
    """
    left = list(range(len(relevance)))
    nearest = [0.0] * len(relevance)
    chosen: list[int] = []
    while left and len(chosen) < limit:
        # The first has nothing to be unlike: it is the most relevant, also at diversity 1.
        weight = 1.0 - diversity if chosen else 1.0
        best = max(left, key=lambda at: (weight * relevance[at] - (1.0 - weight) * nearest[at], -at))
        left.remove(best)
        for at in left:
            near = similarity(best, at)
            nearest[at] = near if not chosen else max(nearest[at], near)
        chosen.append(best)
    return chosen


def jaccard(some: frozenset[str], others: frozenset[str]) -> float:
    """Share of the words of two texts that both have; two texts without words are alike."""
    return len(some & others) / len(some | others) if some or others else 1.0
