"""Which seeds a node is run with next, so that its scores can be compared pair by pair."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence


def fresh_seeds(
    count: int, *, seen: Collection[int], others: Sequence[Collection[int]], hidden: Collection[int], base: int
) -> list[int]:
    """Seeds that the node has not scored with: first those that the others have, then the next of the campaign's.

    Two candidates on the same seeds share their luck, and it cancels from the difference.

    Args:
        seen: what the node has scored with at the stage.
        others: what those that it is compared with have scored with there, the most important one first.
        hidden: seeds that the operating system drew to check a score; they stay secret to candidates, so never again.
        base: where the campaign's own seeds begin.
    """
    shared = {seed for scores in others for seed in scores} - {*seen, *hidden}
    paired = sorted(shared, key=lambda seed: ([seed not in scores for scores in others], seed))[:count]
    taken = {*seen, *hidden, *paired}
    own = (seed for seed in itertools.count(base) if seed not in taken)
    return [*paired, *itertools.islice(own, count - len(paired))]
