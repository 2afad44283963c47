"""Padding taken out and put back, and the layer's part of a cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def index_first_axis(x: Tensor, indices: Tensor) -> Tensor:
    """Rows of x: (rows, ...) -> (len(indices), ...)."""
    return x[indices]


def index_put_first_axis(x: Tensor, indices: Tensor, first_axis_dim: int) -> Tensor:
    """The other way: rows of x to `indices` of `first_axis_dim` rows of zeros."""
    return x.new_zeros(first_axis_dim, *x.shape[1:]).index_put((indices,), x)


def get_unpad_data(attention_mask: Tensor) -> tuple[Tensor, Tensor, int]:
    """(batch, length) of 0 and 1 -> where the 1s are in (batch * length), cumulative lengths, longest length."""
    indices, cu_seqlens = get_unpad_indices_and_cu(attention_mask)
    return indices, cu_seqlens, int(attention_mask.sum(-1).max())


def get_unpad_indices_and_cu(attention_mask: Tensor, q_len: int | None = None) -> tuple[Tensor, Tensor]:
    """As `get_unpad_data`, over the last q_len tokens."""
    mask = attention_mask if q_len is None else attention_mask[:, -q_len:]
    lengths = mask.sum(-1, dtype=torch.int32)
    return mask.flatten().nonzero().flatten(), functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))


def pad_input(hidden_states: Tensor, indices: Tensor, batch_size: int, seq_len: int) -> Tensor:
    """(tokens, ...) -> (batch, length, ...), zeros where there was padding."""
    return index_put_first_axis(hidden_states, indices, batch_size * seq_len).unflatten(0, (batch_size, seq_len))


def unpad_input(
    q: Tensor | tuple[Tensor, ...],
    states: tuple[Tensor, ...],
    attention_mask: Tensor,
    q_len: int,
    keepdim: bool = False,
) -> tuple[Any, tuple[Tensor, ...], Tensor, tuple[Tensor, Tensor], tuple[int, int]]:
    """q and states, (batch, length, ...) each, without their padding: (tokens, ...), or (1, tokens, ...) with keepdim.

    Returns q, states, indices of q, cumulative lengths (of q, of states) and longest lengths. q is a tensor if it was.
    """
    indices, cu_seqlens, longest = get_unpad_data(attention_mask)
    single = isinstance(q, Tensor)
    queries = (q,) if isinstance(q, Tensor) else q
    states = tuple(index_first_axis(x.flatten(0, 1), indices) for x in states)
    if q_len == attention_mask.shape[1]:
        queries = tuple(index_first_axis(x.flatten(0, 1), indices) for x in queries)
        of_q = (indices, cu_seqlens, longest)
    elif q_len == 1:
        queries = tuple(x.squeeze(1) for x in queries)
        steps = torch.arange(queries[0].shape[0] + 1, dtype=torch.int32, device=queries[0].device)
        of_q = (steps[:-1], steps, 1)
    else:
        raise NotImplementedError(f"Expected all tokens or one, but got {q_len} of {attention_mask.shape[1]}.")
    if keepdim:
        queries, states = (tuple(x.unsqueeze(0) for x in group) for group in (queries, states))
    return queries[0] if single else queries, states, of_q[0], (of_q[1], cu_seqlens), (of_q[2], longest)


def unpad_hidden_states(
    hidden_states: Tensor, cu_seqlens: Tensor | None, attention_mask: Tensor | None, q_len: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """(batch, length, width) -> (1, tokens, width), indices, cumulative lengths; as it is where there is no mask."""
    if cu_seqlens is not None or attention_mask is None:
        return hidden_states, None, cu_seqlens
    if attention_mask.dim() != 2:
        raise ValueError(f"Expected a mask (batch, length) of 0 and 1, but got {tuple(attention_mask.shape)}.")
    indices, cu_seqlens = get_unpad_indices_and_cu(attention_mask, q_len)
    return index_first_axis(hidden_states.flatten(0, 1), indices).unsqueeze(0), indices, cu_seqlens


def repad_hidden_states(hidden_states: Tensor, indices: Tensor | None, batch_size: int, q_len: int) -> Tensor:
    """`unpad_hidden_states` undone."""
    return hidden_states if indices is None else pad_input(hidden_states.squeeze(0), indices, batch_size, q_len)


def require_cache_layer_idx(module: Any, past_key_values: Any) -> int | None:
    layer_idx = getattr(module, "layer_idx", None)
    if past_key_values is not None and layer_idx is None:
        raise ValueError(f"{type(module).__name__} requires `layer_idx` when `past_key_values` is provided.")
    return layer_idx


def get_layer_cache(module: Any, past_key_values: Any) -> dict[str, Any] | None:
    """The state of this layer, or None."""
    layer_idx = require_cache_layer_idx(module, past_key_values)
    if past_key_values is None or layer_idx is None or len(past_key_values) <= layer_idx:
        return None
    return past_key_values[layer_idx]


def update_layer_cache(module: Any, past_key_values: Any, **kwargs: Any) -> dict[str, Any] | None:
    layer_idx = require_cache_layer_idx(module, past_key_values)
    return None if past_key_values is None else past_key_values.update(layer_idx=layer_idx, **kwargs)
