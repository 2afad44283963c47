"""Linear attention without decay (arXiv 2006.16236), with or without its normalizer."""

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known
from fla.ops._sequences import Sequences

State = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


def chunk_linear_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    normalize: bool = True,
    cu_seqlens: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, Any]:
    """o_t = scale sum_{j <= t} <q_t, k_j> v_j, with normalize=True divided by scale <q_t, sum_{j <= t} k_j> + 1e-10.

    q, k: (batch, length, heads, K); v: (batch, length, heads, V).
    Returns outputs of the shape of v and None or the final state (sequences, heads, K, V); with normalize=True the
    state is a pair, the second being the sum of keys (sequences, 1, heads, K).
    """
    only_known("chunk_linear_attn", kwargs, "head_first")
    return linear_attention(
        q,
        k,
        v,
        Options(
            scale=scale,
            output_final_state=output_final_state,
            head_first=kwargs.get("head_first", False),
            cu_seqlens=cu_seqlens,
        ),
        initial_state,
        normalize,
    )


def linear_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: Options, initial: State | None, normalize: bool
) -> tuple[torch.Tensor, Any]:
    """See `chunk_linear_attn`; `initial` is a state, or a pair of it and the sum of keys."""
    if isinstance(initial, tuple) and not normalize:
        raise ValueError("Expected a tensor as the initial state without normalize=True, but got a tuple.")
    state, keys_before = initial if isinstance(initial, tuple) else (initial, None)
    outputs, final = attend(q, k, v, Options(**{**vars(options), "initial_state": state}))
    if not normalize:
        return outputs, final
    if options.head_first:
        q, k = q.transpose(1, 2), k.transpose(1, 2)
    sums, last = _sums_of_keys(k, keys_before, options)
    scale = k.shape[-1] ** -0.5 if options.scale is None else options.scale
    divisor = (q.to(sums.dtype) * scale * sums).sum(-1, keepdim=True) + 1e-10
    if options.head_first:
        divisor = divisor.transpose(1, 2)
    return (outputs.to(sums.dtype) / divisor).to(v.dtype), (final, last)


def _sums_of_keys(k: torch.Tensor, before: torch.Tensor | None, options: Options) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the keys up to each token, (batch, length, heads, K), and of each sequence, (sequences, 1, heads, K)."""
    sequences = None if options.cu_seqlens is None else Sequences(options.cu_seqlens, *k.shape[:2])
    k = k.to(torch.promote_types(k.dtype, torch.float32))
    if options.reverse:
        k = k.flip(1) if sequences is None else sequences.backwards(k)
    sums = (k if sequences is None else sequences.apart(k)).cumsum(1)
    if before is not None:
        sums = sums + before
    last = sums[:, -1:]
    if sequences is not None:
        sums = sequences.together(sums)
    if options.reverse:
        sums = sums.flip(1) if sequences is None else sequences.backwards(sums)
    return sums, last
