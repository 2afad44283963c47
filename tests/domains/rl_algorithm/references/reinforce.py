"""REINFORCE (Williams 1992, doi 10.1007/BF00992696) with the mean reward of the batch as baseline, without ratios."""


def compute_advantages(batch):
    return batch.rewards - batch.rewards.mean()


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    per_token = -logp * advantages.unsqueeze(1)
    return ((per_token * mask).sum(dim=1) / mask.sum(dim=1)).mean()
