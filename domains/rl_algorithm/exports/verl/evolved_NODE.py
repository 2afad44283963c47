# ruff: noqa: ARG001, ARG003, E402, F821, RUF100, S101, SIM905 - the two functions and the imports of the program stand above
# pyright: reportUndefinedVariable=false, reportMissingImports=false

# The program of NODE, as it was evolved, up to the line of dashes; behind it, what hands verl's tensors to its two
# functions.
# Written for verl 0.9; what is not the same as in the trainer that scored the program is told in README.md.
#
#     python evolved_NODE.py        # tries both functions without verl, and says what the program needs that verl lacks

# PROGRAM

# --------------------------------------------------------------------------------------------------------------------

import collections as _verl_collections
import importlib.util as _verl_import
import os as _verl_os
import sys as _verl_sys
import types as _verl_types
from typing import Any as _VerlAny

import torch as _verl_torch
import torch.utils._pytree as _verl_tree
from torch import Tensor as _VerlTensor

_VERL_NAME = "evolved_NODE"
_VERL_PROBE = "_evolved_NODE_probe"
_verl_calls: _verl_collections.Counter[str] = _verl_collections.Counter()


_VerlBatch = _verl_collections.namedtuple(
    "_VerlBatch", "rewards group_ids group_size lengths mask old_logp entropy step total_steps"
)


class _VerlAbsent:
    """Something that verl does not hand to these functions: whatever a program does with it fails in words."""

    def __init__(self, what: str) -> None:
        object.__setattr__(self, "_verl_what", what)

    def _verl_fail(self, *_: _VerlAny, **__: _VerlAny) -> _VerlAny:
        raise RuntimeError(
            f"Expected {object.__getattribute__(self, '_verl_what')}, which the program reads, but verl does not hand "
            "it on. This program cannot be exported as it is: see README.md."
        )

    @classmethod
    def __torch_function__(
        cls, function: _VerlAny, kinds: _VerlAny, arguments: _VerlAny = (), named: _VerlAny = None
    ) -> _VerlAny:
        for argument in _verl_tree.tree_leaves((arguments, named)):
            if isinstance(argument, cls):
                cls._verl_fail(argument)
        return NotImplemented

    def __getattr__(self, name: str) -> _VerlAny:
        return _VerlAbsent._verl_fail(self)


for _verl_operation in (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul neg abs getitem "
    "iter len bool float int index lt le gt ge eq ne and or invert"
).split():
    setattr(_VerlAbsent, f"__{_verl_operation}__", _VerlAbsent._verl_fail)
_VerlAbsent.__hash__ = object.__hash__


def _verl_batch(**known: _VerlAny) -> _VerlAny:
    """What the program knows as `batch` or `info`; what is not given is absent."""
    total = _verl_os.environ.get("EVOLVED_TOTAL_STEPS")
    total_steps = int(total) if total else _VerlAbsent("total_steps (environment variable EVOLVED_TOTAL_STEPS)")
    known = {"total_steps": total_steps, **known}
    return _VerlBatch(**{name: known[name] if name in known else _VerlAbsent(name) for name in _VerlBatch._fields})


def _verl_advantages(
    token_level_rewards: _VerlTensor, response_mask: _VerlTensor, index: _VerlAny = None, **_: _VerlAny
) -> tuple[_VerlTensor, _VerlTensor]:
    """Advantages and returns, each (batch, length), for verl's register_adv_est; runs in the driver, once a step.

    `index` (batch,) names the prompt of each row. The program gets groups as neighbours, whatever order
    verl has them in.
    """
    if index is None:
        raise RuntimeError(
            "Expected the uid of each row as index, but got none. Use a trainer of verl that gives uids."
        )
    places: dict[_VerlAny, int] = {}
    groups = _verl_torch.tensor([places.setdefault(uid, len(places)) for uid in index])
    sizes = set(_verl_collections.Counter(groups.tolist()).values())
    if len(sizes) != 1:
        raise RuntimeError(f"Expected groups of one size, but got sizes {sorted(sizes)}. Switch filter_groups off.")
    order = _verl_torch.argsort(groups, stable=True)
    groups, order = groups.to(response_mask.device), order.to(response_mask.device)
    mask = response_mask[order].float()
    with _verl_torch.no_grad():
        found = compute_advantages(
            _verl_batch(
                rewards=token_level_rewards.sum(dim=-1)[order].float(),
                group_ids=groups[order],
                group_size=sizes.pop(),
                lengths=mask.sum(dim=-1).long(),
                mask=mask,
                step=_verl_calls["advantages"],
            )
        ).float()
    _verl_calls["advantages"] += 1
    if found.shape not in (mask.shape, mask.shape[:1]) or not bool(_verl_torch.isfinite(found).all()):
        raise RuntimeError(
            f"Expected finite advantages (B,) or (B, T) for {tuple(mask.shape)} tokens, but got {tuple(found.shape)}."
        )
    whole = (found if found.dim() == 2 else found.unsqueeze(1)) * mask
    advantages = _verl_torch.empty_like(whole)
    advantages[order] = whole
    return advantages, advantages


def _verl_policy_loss(
    old_log_prob: _VerlTensor,
    log_prob: _VerlTensor,
    advantages: _VerlTensor,
    response_mask: _VerlTensor,
    loss_agg_mode: str = "token-mean",
    config: _VerlAny = None,
    rollout_is_weights: _VerlTensor | None = None,
) -> tuple[_VerlTensor, dict[str, float]]:
    """Loss and metrics, for verl's register_policy_loss; runs in the workers, once a micro-batch.

    The program reduces its loss itself, so `loss_agg_mode` means nothing here. Where verl sums the losses of several
    micro-batches, each counts by its share of the rows: exact for a mean over rows.
    """
    mask = response_mask.float()
    logp = _verl_torch.where(mask > 0, log_prob.float(), 0.0)
    if rollout_is_weights is not None:  # weighs each token's loss, which is the same for the gradient by its logp
        logp.register_hook(lambda gradient: gradient * rollout_is_weights)
    told = {"group_size": config.rollout_n} if getattr(config, "rollout_n", None) else {}
    old = old_log_prob.float() * mask
    info = _verl_batch(lengths=mask.sum(dim=-1).long(), mask=mask, old_logp=old, **told)
    rows = _verl_row_advantages(advantages.float(), mask) if _verl_is_by_row() else advantages.float() * mask
    found = policy_loss(logp, old, _VerlAbsent("ref_logp"), rows, mask, info)
    loss, metrics = found if isinstance(found, tuple) else (found, {})
    loss = loss + 0.0 * logp.sum()
    known = getattr(config, "global_batch_info", None) or {}
    if known.get("global_batch_size"):
        loss = loss * (mask.shape[0] / known["global_batch_size"] * known.get("dp_size", 1))
    return loss, {f"actor/evolved/{name}": float(value) for name, value in metrics.items()}


def _verl_row_advantages(advantages: _VerlTensor, mask: _VerlTensor) -> _VerlTensor:
    """(batch,) out of (batch, length): that of the first token in the mask, 0 where a row has none."""
    first = mask.argmax(dim=1, keepdim=True)
    return (advantages.gather(1, first) * mask.gather(1, first)).squeeze(1)


def _verl_is_by_row() -> bool:
    """Whether the program's advantages are (batch,): verl spreads them over tokens, and the loss wants them back.

    Asked of a second copy of the program, once, so that what this one remembers is not touched.
    """
    if "by_row" not in _verl_calls:
        spec = _verl_import.spec_from_file_location(_VERL_PROBE, __file__)
        assert spec is not None and spec.loader is not None
        probe = _verl_sys.modules[_VERL_PROBE] = _verl_import.module_from_spec(spec)
        spec.loader.exec_module(probe)
        state = _verl_torch.get_rng_state()
        found = probe.compute_advantages(_verl_batch(**_verl_example()))
        _verl_torch.set_rng_state(state)
        _verl_calls["by_row"] = int(found.dim() == 1)
    return bool(_verl_calls["by_row"])


def _verl_example() -> dict[str, _VerlAny]:
    """A small batch of two groups, with what verl tells."""
    return {
        "rewards": _verl_torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]),
        "group_ids": _verl_torch.arange(8) // 4,
        "group_size": 4,
        "lengths": _verl_torch.full((8,), 3),
        "mask": _verl_torch.ones(8, 3),
        "step": 0,
    }


def _verl_try() -> None:
    """Both functions on a small batch, as verl would call them; raises where the program needs what verl lacks."""
    example = _verl_example()
    rewards = _verl_torch.zeros(8, 3)
    rewards[:, -1] = example["rewards"]
    advantages, _ = _verl_advantages(rewards, example["mask"], index=example["group_ids"].tolist())
    logp = (-_verl_torch.rand(8, 3)).requires_grad_()
    config = _verl_types.SimpleNamespace(rollout_n=4, global_batch_info={})
    loss, metrics = _verl_policy_loss(logp.detach() - 0.1, logp, advantages, example["mask"], config=config)
    loss.backward()
    assert logp.grad is not None and bool(_verl_torch.isfinite(logp.grad).all())
    print(f"Both functions of {_VERL_NAME} run as verl calls them: loss {float(loss.detach()):.6g}, metrics {metrics}.")


if __name__ == "__main__":
    _verl_try()
elif __name__ != _VERL_PROBE:
    from verl.trainer.ppo.core_algos import register_adv_est, register_policy_loss

    register_adv_est(_VERL_NAME)(_verl_advantages)
    register_policy_loss(_VERL_NAME)(_verl_policy_loss)
