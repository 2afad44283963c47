"""GRPO (arXiv 2402.03300, eq. 3 without its KL term): rewards normalised by mean and deviation of their group, the
clipped surrogate of PPO (arXiv 1707.06347, eq. 7), averaged over the tokens of a sequence, then over sequences."""

# ruff: noqa: ARG001 - arguments of the interface that GRPO has no use for

from typing import Any

import torch
from torch import Tensor

CLIP = 0.2
EPSILON = 1e-6


def compute_advantages(batch: Any) -> Tensor:
    """One advantage a sample, (B,)."""
    groups = batch.rewards.view(-1, batch.group_size)
    centred = groups - groups.mean(dim=1, keepdim=True)
    return (centred / (groups.std(dim=1, keepdim=True) + EPSILON)).flatten()


def policy_loss(
    logp: Tensor, old_logp: Tensor, ref_logp: Tensor, advantages: Tensor, mask: Tensor, info: Any
) -> tuple[Tensor, dict[str, float]]:
    """The loss to be minimised, and the share of tokens whose gradient clipping takes away."""
    advantages = advantages.unsqueeze(1)
    ratio = torch.exp(logp - old_logp)
    unclipped = ratio * advantages
    clipped = ratio.clamp(1 - CLIP, 1 + CLIP) * advantages
    per_token = -torch.minimum(unclipped, clipped) * mask
    loss = (per_token.sum(dim=1) / mask.sum(dim=1)).mean()
    held_back = ((clipped < unclipped) * mask).sum() / mask.sum()
    return loss, {"held_back": held_back.item()}
