"""What the trainer asks of a candidate: advantages once a step, a loss and its gradient once a minibatch.

The trainer knows candidates by this protocol alone. boundary/remote.py answers it over the channel, from a process
that shares nothing with the trainer; boundary/in_process.py answers it from a module that is imported here, for
benchmarks and for programs that are trusted.

Arrays are float32, but for group_ids, group_size, lengths, step and total_steps, which are int64. B samples of at most
T tokens: samples of one group (the answers to one prompt) are neighbours, and positions outside the mask are zeros in
every array of shape (B, T). A minibatch consists of whole groups. All arrays are copies: the trainer reads none of
them again.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

BATCH_ARRAYS = (
    "rewards",  # (B,)
    "group_ids",  # (B,) int64
    "group_size",  # () int64, samples of each prompt
    "lengths",  # (B,) int64, tokens of the answer with the end of text, where it came
    "mask",  # (B, T), 1 where there is a token of the answer
    "old_logp",  # (B, T), log-probability of the token when it was sampled
    "entropy",  # (B, T), nats, of the distribution that the token was sampled from
    "step",  # () int64, from 0
    "total_steps",  # () int64
)
"""What `batch` holds; `info` holds the same for the rows of the minibatch."""


class Refused(Exception):
    """An answer of the candidate that the trainer cannot go on with; the message says what it was."""


class Answer(NamedTuple):
    """What came of one minibatch.

    `gradient` (B, T) is the derivative of the loss with respect to logp. `metrics` are told as progress and judged by
    nobody.
    """

    loss: float
    gradient: np.ndarray
    metrics: dict[str, float]


class Algorithm(Protocol):
    """A candidate. What it answers is finite and of the shapes below, or it raises."""

    def begin(self, seed: int) -> None:
        """Start a run: the candidate's module is imported anew, so that its globals are as at first, and its random
        numbers start from `seed`. What it kept elsewhere in its process stays. Give it a number that the candidate
        may know, never the hidden seed."""
        ...

    def advantages(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Advantages (B,) or (B, T) of what was sampled in this step."""
        ...

    def loss(
        self,
        logp: np.ndarray,
        old_logp: np.ndarray,
        ref_logp: np.ndarray,
        advantages: np.ndarray,
        mask: np.ndarray,
        info: dict[str, np.ndarray],
    ) -> Answer:
        """Loss of a minibatch, which is minimised; `ref_logp` is that of the weights that the run began with."""
        ...
