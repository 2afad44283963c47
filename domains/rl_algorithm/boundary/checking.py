"""The arrays that go to a candidate, and the checks of those that come back; numpy only.

An answer comes from a process that may be hostile, so it is held to its form number by number before anything is done
with it: type, shape, finiteness. What it means is not judged: any finite gradient of the log-probabilities is a
direction that the candidate may choose. Its size is bounded by `clipped`, so that nothing is won by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from training.algorithm import Answer, Refused

from boundary import metrics

Arrays = Mapping[str, Any]

BATCH_FORM = {
    "rewards": ("float32", "B"),
    "group_ids": ("int64", "B"),
    "group_size": ("int64", ""),
    "lengths": ("int64", "B"),
    "mask": ("float32", "BT"),
    "old_logp": ("float32", "BT"),
    "entropy": ("float32", "BT"),
    "step": ("int64", ""),
    "total_steps": ("int64", ""),
}
"""Type and shape of what a batch holds; batch.py says what each means."""


def batch_arrays(batch: Arrays) -> dict[str, np.ndarray]:
    """The arrays of a batch in their types, nothing besides.

    Raises:
        ValueError: the trainer's own: something is missing, or has another shape.
    """
    if missing := BATCH_FORM.keys() - batch.keys():
        raise ValueError(f"Expected a batch with {', '.join(BATCH_FORM)}, but it has no {', '.join(sorted(missing))}.")
    size = {"B": len(batch["rewards"]), "T": np.shape(batch["mask"])[-1]}
    arrays = {name: np.asarray(batch[name], dtype) for name, (dtype, _) in BATCH_FORM.items()}
    for name, (_, axes) in BATCH_FORM.items():
        shape = tuple(size[axis] for axis in axes)
        if arrays[name].shape != shape:
            raise ValueError(f"Expected {name} of the batch of shape {shape}, but got {arrays[name].shape}.")
    return arrays


def loss_arrays(
    logp: np.ndarray,
    old_logp: np.ndarray,
    ref_logp: np.ndarray,
    advantages: np.ndarray,
    mask: np.ndarray,
    info: Arrays,
) -> dict[str, np.ndarray]:
    """All that goes to `policy_loss`. `old_logp` and `mask` go once: `info` shows the candidate the same.

    Raises:
        ValueError: the trainer's own: something is missing, or has another shape.
    """
    arrays = batch_arrays({**info, "old_logp": old_logp, "mask": mask})
    shape = arrays["mask"].shape
    for name, value in (("logp", logp), ("ref_logp", ref_logp)):
        if np.shape(value) != shape:
            raise ValueError(f"Expected {name} of shape {shape}, but got {np.shape(value)}.")
        arrays[name] = np.asarray(value, np.float32)
    if np.shape(advantages) not in (shape, shape[:1]):
        raise ValueError(f"Expected advantages of shape {shape[:1]} or {shape}, but got {np.shape(advantages)}.")
    arrays["advantages"] = np.asarray(advantages, np.float32)
    return arrays


def checked_advantages(answer: Arrays, mask: np.ndarray) -> np.ndarray:
    """(B,) or (B, T) float32, zeros where the mask is 0.

    Raises:
        Refused: another form, or not finite.
    """
    advantages = _only(answer, "compute_advantages", "advantages")["advantages"]
    shape = mask.shape
    if advantages.shape not in (shape, shape[:1]):
        raise Refused(
            f"Expected compute_advantages to return (B,) or (B, T), here {shape[:1]} or {shape}, but got "
            f"{advantages.shape}."
        )
    _check_finite(advantages, "float32", "the advantages of compute_advantages")
    return advantages * mask if advantages.ndim == 2 else advantages


def checked_loss(answer: Arrays, mask: np.ndarray) -> Answer:
    """Loss, gradient and metrics; the gradient is 0 where the mask is 0.

    Raises:
        Refused: another form, or not finite.
    """
    arrays = _only(answer, "policy_loss", "loss", "gradient", "metric_names", "metric_values")
    loss, gradient = arrays["loss"], arrays["gradient"]
    if loss.shape != ():
        raise Refused(f"Expected policy_loss to return a scalar loss, but got one of shape {loss.shape}.")
    _check_finite(loss, "float64", "the loss of policy_loss")
    if gradient.shape != mask.shape:
        raise Refused(f"Expected d loss / d logp of shape {mask.shape}, but got {gradient.shape}.")
    _check_finite(gradient, "float32", "the gradient of policy_loss by logp")
    return Answer(float(loss), gradient * mask, metrics.unpack(arrays["metric_names"], arrays["metric_values"]))


def _only(answer: Arrays, function: str, *names: str) -> dict[str, np.ndarray]:
    """The arrays of an answer, which has to hold exactly these."""
    if set(answer) != set(names):
        raise Refused(f"Expected {function} to be answered with {', '.join(names)}, but got {', '.join(answer)}.")
    return {name: np.asarray(answer[name]) for name in names}


def _check_finite(array: np.ndarray, dtype: str, what: str) -> None:
    if array.dtype != dtype:
        raise Refused(f"Expected {what} as {dtype}, but got {array.dtype}.")
    finite = np.isfinite(array)
    if finite.all():
        return
    if array.ndim == 0:
        raise Refused(f"Expected {what} to be finite, but it is {array}.")
    first = np.unravel_index(int(np.argmin(finite)), array.shape)
    place = ", ".join(map(str, first))
    raise Refused(
        f"Expected {what} to be finite, also outside the mask, but {int((~finite).sum())} of {array.size} are not; "
        f"the first is {array[first]} at [{place}]."
    )


def clipped(gradient: np.ndarray, max_norm: float) -> np.ndarray:
    """The gradient, scaled down to this Euclidean norm over all its entries where it is longer.

    In float64, since squares of float32 gradients overflow from 1e19 on, and an infinite norm would turn a huge
    gradient into none.
    """
    exact = gradient.astype(np.float64)
    norm = float(np.sqrt(np.square(exact).sum()))
    return gradient if norm <= max_norm else (exact * (max_norm / norm)).astype(gradient.dtype)
