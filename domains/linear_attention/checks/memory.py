"""What reaches what: the last output the first tokens, and the loss every parameter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from checks.finding import Failed, Finding, attempt
from checks.subject import Condition, Subject, array_of

LENGTH = 256
OLDEST = 16
"""Tokens at the beginning, one of which has to reach the end: hard selection may leave out the very first."""
FADED = 1e-20
"""A gradient that gets smaller than this, relative to the largest, before it is zero has faded: a gate may open with
training.
One that breaks off above it is cut."""


def check_memory(subject: Subject) -> Finding:
    """The gradient of the last output with respect to the first tokens, at length 256, must not be exactly zero.

    With initial weights or noisy ones: an output projection that starts at zero is honest. Mixers that see a window of
    fixed size and nothing before it are refused too; so is memory behind a detach, which nothing teaches what to keep.
    """
    profiles = [_profile(subject, condition) for condition in (Condition(), Condition(noisy=True))]
    reaches = [reach_of(profile) for profile in profiles]
    reach = max(reaches)
    if reach > LENGTH - OLDEST:
        return Finding(
            "memory", "passed", reach, LENGTH - OLDEST, f"The last of {LENGTH} outputs depends on the first tokens."
        )
    profile = profiles[reaches.index(reach)]
    if _fades(profile):
        return Finding(
            "memory",
            "warning",
            reach,
            LENGTH - OLDEST,
            f"With initial weights the memory fades within {reach} tokens. Let gates start nearer to 1.",
        )
    raise Failed(
        "memory",
        f"Expected the last of {LENGTH} outputs to depend on the first {OLDEST} tokens, but no gradient reaches "
        f"further back than {reach} tokens. Carry a state over the whole length, and do not detach it.",
        reach,
        LENGTH - OLDEST,
    )


def _profile(subject: Subject, condition: Condition) -> NDArray[np.float64]:
    """(LENGTH,): the largest gradient of a random projection of the last output with respect to each token."""
    module = subject.fresh(condition)
    x = subject.inputs(4, LENGTH, condition, 13).requires_grad_()
    output = subject.forward(module, x, "memory").float()
    direction = subject.inputs(4, 1, condition, 14)[:, 0]
    if output.requires_grad:
        attempt("memory", "a backward pass in evaluation mode", (output[:, -1] * direction).sum().backward)
    if x.grad is None:
        return np.zeros(LENGTH)
    return np.nan_to_num(np.abs(array_of(x.grad).astype(np.float64)).max(axis=(0, 2)), posinf=1.0)


def reach_of(profile: NDArray[np.float64]) -> int:
    """How many of the latest tokens there are up to the oldest with a gradient; 0 without any."""
    return len(profile) - int(np.argmax(profile > 0)) if (profile > 0).any() else 0


def _fades(profile: NDArray[np.float64]) -> bool:
    alive = profile[profile > 0]
    return bool(alive.size and alive.min() < FADED * alive.max())


def check_gradients(subject: Subject) -> list[Finding]:
    """The findings `finite` and `unused`: a training step at length 64 has finite outputs and gradients."""
    module = subject.fresh(Condition(training=True))
    output = _trained(subject, module)
    _refuse_not_finite(array_of(output), "the output in training mode")
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            _refuse_not_finite(array_of(parameter.grad), f"the gradient of {name}")
    return [Finding("finite", "passed", None, None, "Outputs and gradients are finite."), _unused(subject)]


def _trained(subject: Subject, module: nn.Module) -> Tensor:
    """The output of a training step at length 64; what has no gradient is left to the check of memory."""
    output = subject.forward(module, subject.inputs(4, 64).requires_grad_(), "finite")
    if output.requires_grad:
        attempt("finite", "a backward pass", output.float().square().mean().backward)
    return output


def _refuse_not_finite(values: NDArray[np.float32], what: str) -> None:
    share = 1 - float(np.isfinite(values).mean()) if values.size else 0.0
    if share:
        sentence = (
            f"Expected finite numbers, but {share:.0%} of {what} are not. Look for divisions, logs and exponentials."
        )
        raise Failed("finite", sentence, share, 0.0)


def _unused(subject: Subject) -> Finding:
    """Parameters that get no gradient, with noise on the weights: behind a gate at zero they only look unused."""
    module = subject.fresh(Condition(noisy=True, training=True))
    _trained(subject, module)
    parameters = dict(module.named_parameters())
    idle = {
        name: p.numel() for name, p in parameters.items() if p.requires_grad and (p.grad is None or not p.grad.any())
    }
    share = sum(idle.values()) / max(sum(p.numel() for p in parameters.values()), 1)
    if not idle:
        return Finding("unused", "passed", 0.0, None, "Every parameter gets a gradient.")
    names = ", ".join(list(idle)[:5]) + (", ..." if len(idle) > 5 else "")
    return Finding("unused", "warning", share, None, f"{share:.0%} of the parameters get no gradient: {names}.")


def check_lengths(subject: Subject) -> Finding:
    """Outputs of the right shape, all finite, at lengths that no chunk divides. Length 1 is asked of nobody: a
    warning."""
    note = ""
    for length in (1, 7, 33, 65, 130):
        for condition, batch in ((Condition(), 3), (Condition(training=True), 1)):
            x = subject.inputs(batch, length, condition, 15)
            try:
                answer = subject.fresh_answer(x, condition, "lengths")
            except Failed as failed:
                if length > 1:
                    raise
                note = f" At length 1: {failed.sentence}"
                continue
            if not np.isfinite(answer).all() and length > 1:
                sentence = f"Expected finite outputs, but some at length {length} are not ({condition})."
                raise Failed("finite", sentence, float(length))
    sentence = f"Outputs at lengths 7, 33, 65 and 130 are as they should be.{note}"
    return Finding("lengths", "warning" if note else "passed", None, None, sentence)
