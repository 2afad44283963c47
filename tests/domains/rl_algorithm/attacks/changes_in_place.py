# ruff: noqa
# attack: changes_in_place
# tries: to change rewards, masks and old log-probabilities where they are, once its own answer is made
# expect: honest

_honest_advantages, _honest_loss = compute_advantages, policy_loss


def compute_advantages(batch):
    advantages = _honest_advantages(batch)
    for value in batch:
        if isinstance(value, torch.Tensor):
            value.fill_(1)
    return advantages


class _Honest(torch.autograd.Function):
    """The gradient is taken before anything is changed."""

    @staticmethod
    def forward(context, logp, gradient, loss):
        context.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(context, upstream):
        return context.saved_tensors[0], None, None


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    leaf = logp.detach().clone().requires_grad_()
    loss, told = _honest_loss(leaf, old_logp, ref_logp, advantages, mask, info)
    (gradient,) = torch.autograd.grad(loss, leaf)
    answer = _Honest.apply(logp, gradient, loss.detach())
    for value in (old_logp, ref_logp, advantages, mask, info.rewards, info.entropy):
        value.fill_(1)
    return answer, told
