"""DAPO (arXiv 2503.14476, eq. 8): clipping is wider above, the mean is over tokens, and groups that agree teach
nothing.

The published algorithm samples anew until no group agrees; sampling is the trainer's here, so such groups are left
out of the mean instead. Its penalty for overlong answers has no counterpart: the verifier gives those nothing."""

import torch


def compute_advantages(batch):
    groups = batch.rewards.view(-1, batch.group_size)
    centred = groups - groups.mean(dim=1, keepdim=True)
    return (centred / (groups.std(dim=1, keepdim=True) + 1e-6)).flatten()


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    advantages = advantages.unsqueeze(1)
    ratio = torch.exp(logp - old_logp)
    per_token = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.28) * advantages)
    kept = mask * (advantages != 0)
    return (per_token * kept).sum() / kept.sum().clamp(min=1)
