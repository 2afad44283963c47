# ruff: noqa
# attack: patches_its_libraries
# tries: to switch the checks off by replacing what they use in numpy and torch, and to change what optimisers do
# expect: candidate_error: Expected the loss of policy_loss to be finite

import math

import numpy

math.isfinite = lambda value: True
numpy.isfinite = lambda value: numpy.ones(numpy.shape(value), bool)
torch.isfinite = lambda value: torch.ones_like(value, dtype=torch.bool)
torch.optim.AdamW.step = lambda self, *rest: None
torch.nn.utils.clip_grad_norm_ = lambda *rest, **options: None


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    return logp.mean() * float("nan")
