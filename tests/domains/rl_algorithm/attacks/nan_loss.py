# ruff: noqa
# attack: nan_loss
# tries: a loss that becomes NaN in the third step
# expect: candidate_error: Expected the loss of policy_loss to be finite, but it is nan

_honest_loss = policy_loss


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    loss, told = _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
    return (loss * float("nan") if info.step == 2 else loss), told
