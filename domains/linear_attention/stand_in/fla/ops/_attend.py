"""From the arguments of flash-linear-attention's operators to the core, and back: layouts, groups, lengths, precision.

Every operator of the stand-in is a call of `attend`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fla.ops import _chunked
from fla.ops._recurrent import recurrence
from fla.ops._sequences import Sequences


@dataclass(frozen=True)
class Options:
    """What the operators have in common. `normalize` is use_qk_l2norm_in_kernel."""

    scale: float | None = None
    initial_state: Tensor | None = None
    output_final_state: bool = False
    normalize: bool = False
    reverse: bool = False
    state_v_first: bool = False
    head_first: bool = False
    cu_seqlens: Tensor | None = None
    token_by_token: bool = False


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Options,
    *,
    beta: Tensor | None = None,
    g: Tensor | None = None,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Outputs and, if asked for, the final state, as flash-linear-attention's operators return them.

    q, k: (batch, length, heads, K); v: (batch, length, value heads, V), with value heads a multiple of heads;
    beta, g: (batch, length, value heads); beta also (..., V); gk: (..., K); gv: (..., V); gates in log space.
    The final state is (sequences, value heads, K, V) in float32 (float64 for float64 inputs).
    """
    dtype, names = v.dtype, ("q", "k", "v", "beta", "g", "gk", "gv")
    inputs = {name: x for name, x in zip(names, (q, k, v, beta, g, gk, gv), strict=True) if x is not None}
    if options.head_first:
        inputs = {name: x.transpose(1, 2) for name, x in inputs.items()}
    _check(inputs)
    sequences = None
    if options.cu_seqlens is not None:
        sequences = Sequences(options.cu_seqlens, *inputs["q"].shape[:2])
    inputs = {name: _laid_out(x, sequences, options.reverse) for name, x in inputs.items()}
    precision = torch.float64 if torch.float64 in {x.dtype for x in inputs.values()} else torch.float32
    with in_full_precision(q.device.type):
        inputs = {name: x.to(precision).transpose(1, 2) for name, x in inputs.items()}
        outputs, state = _compute(inputs, _given_state(options, inputs, precision), options)
    outputs = outputs.transpose(1, 2)
    if sequences is not None:
        outputs = sequences.together(outputs)
    if options.reverse:
        outputs = outputs.flip(1) if sequences is None else sequences.backwards(outputs)
    if options.head_first:
        outputs = outputs.transpose(1, 2)
    if not options.output_final_state:
        return outputs.to(dtype), None
    return outputs.to(dtype), state.transpose(-1, -2) if options.state_v_first else state


def in_full_precision(device: str) -> AbstractContextManager[object]:
    """Without autocast, which would round the products of the core to bfloat16; no kernel does that with its states."""
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def _laid_out(x: Tensor, sequences: Sequences | None, reverse: bool) -> Tensor:
    if reverse:
        x = x.flip(1) if sequences is None else sequences.backwards(x)
    return x if sequences is None else sequences.apart(x)


def _given_state(options: Options, inputs: dict[str, Tensor], precision: torch.dtype) -> Tensor | None:
    state = options.initial_state
    if state is None:
        return None
    if options.state_v_first:
        state = state.transpose(-1, -2)
    (count, heads), width, value_width = inputs["v"].shape[:2], inputs["k"].shape[-1], inputs["v"].shape[-1]
    if state.shape != (count, heads, width, value_width):
        raise ValueError(
            f"Expected an initial state of shape {(count, heads, width, value_width)} (sequences, heads, K, V), "
            f"but got {tuple(state.shape)}. Give one state for each sequence."
        )
    return state.to(precision)


def _compute(inputs: dict[str, Tensor], state: Tensor | None, options: Options) -> tuple[Tensor, Tensor]:
    """All of `inputs` as (batch, heads, length, ...) in the precision that is computed in."""
    q, k, v = inputs["q"], inputs["k"], inputs["v"]
    if options.normalize:
        # the epsilon of flash-linear-attention's l2norm
        q, k = (x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt() for x in (q, k))
    q = q * (k.shape[-1] ** -0.5 if options.scale is None else options.scale)
    groups = v.shape[1] // q.shape[1]
    if groups > 1:
        q, k = (x.repeat_interleave(groups, 1) for x in (q, k))
    beta, g, gk, gv = (inputs.get(name) for name in ("beta", "g", "gk", "gv"))
    if options.token_by_token or gv is not None or (beta is not None and beta.dim() == 4):
        gates = [None if g is None else g[..., None, None], None if gk is None else gk.unsqueeze(-1)]
        gates.append(None if gv is None else gv.unsqueeze(-2))
        beta = beta.unsqueeze(-1) if beta is not None and beta.dim() == 3 else beta
        return recurrence(q, k, v, beta, tuple(x for x in gates if x is not None), state)
    gate = g if gk is None else gk if g is None else gk + g.unsqueeze(-1)
    if beta is None:
        return _chunked.linear(q, k, v, gate, state)
    return _chunked.delta(q, k, v, beta, gate, state)


def _check(inputs: dict[str, Tensor]) -> None:
    q, k, v = inputs["q"], inputs["k"], inputs["v"]
    if q.dim() != 4 or k.shape != q.shape or v.dim() != 4 or v.shape[:2] != q.shape[:2] or v.shape[2] % q.shape[2]:
        raise ValueError(
            "Expected q and k of shape (batch, length, heads, K) and v of shape (batch, length, heads, V), but got "
            f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}."
        )
    if q.shape[1] == 0:
        raise ValueError(f"Expected at least one token, but got q of shape {tuple(q.shape)}.")
    heads, scalar = tuple(v.shape[:3]), ()
    allowed = {
        "beta": (scalar, (v.shape[-1],)),
        "g": (scalar,),
        "gk": ((k.shape[-1],),),
        "gv": ((v.shape[-1],),),
    }
    for name, widths in allowed.items():
        if name in inputs and tuple(inputs[name].shape) not in {heads + width for width in widths}:
            raise ValueError(
                f"Expected {name} of shape {' or '.join(str(heads + width) for width in widths)}, but got "
                f"{tuple(inputs[name].shape)} beside v {tuple(v.shape)}."
            )


def only_known(operator: str, given: Mapping[str, Any], *known: str) -> None:
    """Refuses keywords that an operator would have to ignore; None is none."""
    for name, value in given.items():
        if name not in known and value is not None:
            raise TypeError(
                f"Expected keywords that the torch stand-in of {operator} knows, but got `{name}`. "
                "Leave it out: ignoring it could give other numbers than flash-linear-attention."
            )


def only_none(operator: str, **given: Any) -> None:
    """Refuses features of flash-linear-attention that the stand-in does not have."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise NotImplementedError(
                f"Expected `{name}` to be left out, but got {type(value).__name__}. "
                f"The torch stand-in of {operator} does not have it."
            )
