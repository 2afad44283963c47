"""Dr. GRPO (arXiv 2503.20783): neither the deviation of the group nor the length of the answer divides; the sum over
tokens is divided by the limit of length."""

import torch


def compute_advantages(batch):
    groups = batch.rewards.view(-1, batch.group_size)
    return (groups - groups.mean(dim=1, keepdim=True)).flatten()


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    advantages = advantages.unsqueeze(1)
    ratio = torch.exp(logp - old_logp)
    per_token = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    return (per_token * mask).sum(dim=1).mean() / mask.shape[1]
