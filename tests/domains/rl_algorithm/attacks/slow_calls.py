# ruff: noqa
# attack: slow_calls
# tries: to wait a tenth of a second in each call, a hundred times an honest call, never long enough for one timeout
# expect: candidate_error: Expected the candidate to take at most 2 s for all its calls together

import time

_honest_advantages, _honest_loss = compute_advantages, policy_loss


def compute_advantages(batch):
    time.sleep(0.1)
    return _honest_advantages(batch)


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    time.sleep(0.1)
    return _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
