"""Retention (arXiv 2307.08621): simple GLA with a fixed decay a head, 1 - 2^(-5 - head)."""

from __future__ import annotations

from typing import Any

import torch

from fla.ops.simple_gla.chunk import chunk_simple_gla
from fla.ops.simple_gla.fused_recurrent import fused_recurrent_simple_gla


def decay_of_heads(q: torch.Tensor, head_first: bool = False) -> torch.Tensor:
    """Log decay of each head, (heads)."""
    heads = torch.arange(q.shape[1 if head_first else 2], dtype=torch.float32, device=q.device)
    return torch.log1p(-(2.0 ** (-5.0 - heads)))


def chunk_retention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """See `chunk_simple_gla`."""
    decay = decay_of_heads(q, kwargs.get("head_first", False))
    return chunk_simple_gla(
        q, k, v, None, decay, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens, **kwargs
    )


def fused_recurrent_retention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """See `chunk_simple_gla`; reverse=True runs each sequence from its end."""
    decay = decay_of_heads(q, kwargs.get("head_first", False))
    return fused_recurrent_simple_gla(
        q, k, v, None, decay, scale, initial_state, output_final_state, reverse, state_v_first, cu_seqlens, **kwargs
    )
