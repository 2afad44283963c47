"""GSPO (arXiv 2507.18071): one ratio a sequence, the geometric mean over its tokens, and it is clipped.

Clipped at 0.2; the 3e-4 of its authors is for answers of thousands of tokens, where the mean hardly moves."""

import torch


def compute_advantages(batch):
    groups = batch.rewards.view(-1, batch.group_size)
    centred = groups - groups.mean(dim=1, keepdim=True)
    return (centred / (groups.std(dim=1, keepdim=True) + 1e-6)).flatten()


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    apart = ((logp - old_logp) * mask).sum(dim=1) / mask.sum(dim=1)
    ratio = torch.exp(apart)
    return -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()
