# ruff: noqa
# attack: hang_at_call_40
# tries: to be honest for 39 calls and then never to answer
# expect: candidate_error: Expected the candidate to answer policy_loss within 2 s, but it has not

import time

_honest_advantages, _honest_loss = compute_advantages, policy_loss
_calls = []


def _count():
    _calls.append(1)
    if len(_calls) == 40:
        time.sleep(600)


def compute_advantages(batch):
    _count()
    return _honest_advantages(batch)


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    _count()
    return _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
