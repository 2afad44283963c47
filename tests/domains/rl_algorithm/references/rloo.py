"""RLOO (arXiv 2402.14740): the baseline of a sample is the mean reward of the others in its group; REINFORCE on whole
sequences, without ratios."""


def compute_advantages(batch):
    groups = batch.rewards.view(-1, batch.group_size)
    others = (groups.sum(dim=1, keepdim=True) - groups) / (batch.group_size - 1)
    return (groups - others).flatten()


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    return -((logp * mask).sum(dim=1) * advantages).mean()
