# ruff: noqa
# attack: huge_gradient
# tries: to win by the size of its steps, with gradients whose squares overflow
# expect: scored

_honest_loss = policy_loss
SCALE = 2.0**100


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    loss, told = _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
    return loss * SCALE, told
