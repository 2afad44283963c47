"""Percentile-normalised advantages under one budget for all updates: our reading of the other design that arXiv
2603.29640 reports as evolved. Constants are ours.

The log-ratio of a token may go as far as c with exp(c) |A| <= z, so that large advantages have a small radius."""

import torch


def compute_advantages(batch):
    groups = batch.rewards.view(-1, batch.group_size)
    centred = (groups - groups.mean(dim=1, keepdim=True)).flatten()
    spread = torch.quantile(centred, 0.95) - torch.quantile(centred, 0.05)
    return (centred / spread.clamp(min=0.1)).clamp(-1.3, 1.3)


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    budget, widest = 1.3, 0.5
    advantages = advantages.unsqueeze(1)
    radius = torch.log(budget / advantages.abs().clamp(min=1e-6)).clamp(0.0, widest)
    apart = logp - old_logp
    bounded = torch.minimum(torch.maximum(apart, -radius), radius)
    per_token = -torch.minimum(apart.exp() * advantages, bounded.exp() * advantages)
    return ((per_token * mask).sum(dim=1) / mask.sum(dim=1)).mean()
