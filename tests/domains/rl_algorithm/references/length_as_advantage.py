"""GRPO that takes length for quality."""

import torch


def compute_advantages(batch):
    groups = batch.lengths.float().view(-1, batch.group_size)
    centred = groups - groups.mean(dim=1, keepdim=True)
    return (centred / (groups.std(dim=1, keepdim=True) + 1e-6)).flatten()


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    advantages = advantages.unsqueeze(1)
    ratio = torch.exp(logp - old_logp)
    per_token = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    return ((per_token * mask).sum(dim=1) / mask.sum(dim=1)).mean()
