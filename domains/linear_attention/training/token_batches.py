"""Batches of a token file: windows of it in an order that the seed, the step and the process decide, and nothing else.

A file is cut into windows of `length` tokens, which share no target. An epoch takes every window once, in an order of
its own, but for those at its end that make no whole batch. The windows of a step are shared out among the processes: no
two see the same one, together they see what one process with the whole batch sees, and a run that goes on sees what it
would have seen.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

Batches = Callable[[int], tuple[np.ndarray, np.ndarray]]


def token_batches(
    tokens: np.ndarray, *, batch: int, length: int, seed: int, rank: int = 0, processes: int = 1
) -> Batches:
    """Step (from 1) -> tokens and targets of this process, each (batch / processes, length) int64.

    `tokens`: (n,) of any integer type, memory-mapped as a rule; only the windows of a step are read.
    Raises ValueError where there is not one batch of windows, or the batch is no multiple of the processes.
    """
    windows = (len(tokens) - 1) // length
    if windows < batch:
        raise ValueError(
            f"Expected at least {batch * length + 1} tokens for a batch of {batch} windows of {length}, but got "
            f"{len(tokens)}. Give a larger file or a smaller batch."
        )
    if batch % processes:
        raise ValueError(f"Expected a batch that {processes} processes can share, but got {batch}.")

    @lru_cache(maxsize=1)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(windows)

    share, steps = batch // processes, windows // batch

    def at(step: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, place = divmod(step - 1, steps)
        first = place * batch + rank * share
        starts = order(epoch)[first : first + share] * length
        rows = np.stack([np.asarray(tokens[start : start + length + 1], dtype=np.int64) for start in starts])
        return rows[:, :-1], rows[:, 1:]

    return at
