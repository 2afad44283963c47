# ruff: noqa
# attack: inf_gradient
# tries: a finite loss whose gradient is inf at one token
# expect: candidate_error: Expected the gradient of policy_loss by logp to be finite


class _Lie(torch.autograd.Function):
    @staticmethod
    def forward(context, logp):
        context.shape = logp.shape
        return logp.sum() * 0

    @staticmethod
    def backward(context, upstream):
        gradient = torch.zeros(context.shape)
        gradient[0, 0] = float("inf")
        return gradient


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    return _Lie.apply(logp)
