# ruff: noqa
# attack: remembers_everything
# tries: to keep 40 MB more in each call; memory between calls is allowed, and bounded
# expect: limit: memory

_kept = []
_honest_advantages = compute_advantages


def compute_advantages(batch):
    _kept.append(torch.ones(10_000_000))
    return _honest_advantages(batch)


_honest_loss = policy_loss


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    _kept.append(torch.ones(10_000_000))
    return _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
