"""Nothing is learnt: whatever the trainer does besides shows as a difference from the warm start."""

import torch


def compute_advantages(batch):
    return torch.zeros_like(batch.rewards)


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    return (logp * 0.0).sum()
