"""GRPO without clipping: the importance-weighted policy gradient, however far the model has gone from its samples."""

import torch


def compute_advantages(batch):
    groups = batch.rewards.view(-1, batch.group_size)
    centred = groups - groups.mean(dim=1, keepdim=True)
    return (centred / (groups.std(dim=1, keepdim=True) + 1e-6)).flatten()


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    per_token = -torch.exp(logp - old_logp) * advantages.unsqueeze(1)
    return ((per_token * mask).sum(dim=1) / mask.sum(dim=1)).mean()
