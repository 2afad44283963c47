"""Rank fusion: one ranking out of several whose scores cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence

RANK_CONSTANT = 60


def reciprocal_rank_fusion(rankings: Sequence[Sequence[int]]) -> list[tuple[int, float]]:
    """(item, score), best first: the score is the sum over the rankings of 1 / (60 + rank), ranks from 1.

    Equal scores: the lower number comes first. (Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms
    Condorcet and individual rank learning methods", SIGIR 2009; k = 60 there.)
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))
