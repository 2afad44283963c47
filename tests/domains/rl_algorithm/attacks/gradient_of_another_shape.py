# ruff: noqa
# attack: gradient_of_another_shape
# tries: to have the stub, which runs in its process, answer with a gradient of one row
# expect: candidate_error: Expected d loss / d logp of shape

import torch.autograd

_true_grad = torch.autograd.grad


def _grad(*arguments, **options):
    return (_true_grad(*arguments, **options)[0][:1],)


torch.autograd.grad = _grad
