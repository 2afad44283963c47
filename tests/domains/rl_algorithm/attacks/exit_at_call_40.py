# ruff: noqa
# attack: exit_at_call_40
# tries: to end its process well after 39 calls, as if all were done
# expect: candidate_error: process has ended

import os

_honest_advantages, _honest_loss = compute_advantages, policy_loss
_calls = []


def _count():
    _calls.append(1)
    if len(_calls) == 40:
        os._exit(0)


def compute_advantages(batch):
    _count()
    return _honest_advantages(batch)


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    _count()
    return _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
