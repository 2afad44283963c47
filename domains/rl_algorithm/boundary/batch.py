"""What a candidate sees: the batch of a step, or the rows of a minibatch. No prompt, no answer, no token.

Nothing in it is part of the model: numbers that were copied from another process, with no graph behind them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Batch(NamedTuple):
    """B samples of at most T tokens. Where the mask is 0 all else is 0. Samples of one group are neighbours.

    `policy_loss` gets the same of its minibatch as `info`, where B counts the rows of the minibatch.
    """

    rewards: torch.Tensor
    """(B,) float32."""
    group_ids: torch.Tensor
    """(B,) int64; samples of one prompt have the same."""
    group_size: int
    """Samples of a prompt in the batch of the step."""
    lengths: torch.Tensor
    """(B,) int64; tokens of each sample."""
    mask: torch.Tensor
    """(B, T) float32; 1 for tokens of the sample, 0 behind its end."""
    old_logp: torch.Tensor
    """(B, T) float32; log-probabilities of the tokens when they were sampled."""
    entropy: torch.Tensor
    """(B, T) float32; entropy in nats of what each token was sampled from."""
    step: int
    """Of this run of training, from 0."""
    total_steps: int
