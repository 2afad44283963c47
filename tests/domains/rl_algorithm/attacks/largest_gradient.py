# ruff: noqa
# attack: largest_gradient
# tries: the largest float32 at every token, whatever the loss is
# expect: scored


class _Lie(torch.autograd.Function):
    @staticmethod
    def forward(context, logp):
        context.shape = logp.shape
        return logp.sum() * 0

    @staticmethod
    def backward(context, upstream):
        return torch.full(context.shape, torch.finfo(torch.float32).max)


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    return _Lie.apply(logp)
