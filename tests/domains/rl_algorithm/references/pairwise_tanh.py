"""Pairwise tanh-normalised advantages with asymmetric clipping and high-impact dropout: our reading of one of the two
designs that arXiv 2603.29640 reports as evolved. Constants and the rule of the dropout are ours.

A_i = 1 / (G - 1) sum_j tanh(r_i - r_j). Of the tokens the 5 % with the largest probability times |A| get no
gradient."""

import torch


def compute_advantages(batch):
    groups = batch.rewards.view(-1, batch.group_size)
    differences = torch.tanh(groups.unsqueeze(2) - groups.unsqueeze(1))
    return (differences.sum(dim=2) / (batch.group_size - 1)).flatten()


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    advantages = advantages.unsqueeze(1)
    ratio = torch.exp(logp - old_logp)
    below = torch.where(advantages > 0, 0.2, 0.15)
    above = torch.where(advantages > 0, 0.28, 0.2)
    bounded = torch.minimum(torch.maximum(ratio, 1 - below), 1 + above)
    per_token = -torch.minimum(ratio * advantages, bounded * advantages)
    impact = (logp.exp() * advantages.abs()).detach()
    kept = mask * (impact <= torch.quantile(impact[mask > 0], 0.95))
    return ((per_token * kept).sum(dim=1) / mask.sum(dim=1)).mean()
