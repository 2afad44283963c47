"""Gated linear attention with one gate a head: token by token, and in chunks."""

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed

from __future__ import annotations

import torch

from fla.ops._attend import Options, attend


def naive_recurrent_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """q, k: (batch, length, heads, K); v: (batch, length, heads, V); g: (batch, length, heads)."""
    options = Options(
        scale=scale, initial_state=initial_state, output_final_state=output_final_state, token_by_token=True
    )
    return attend(q, k, v, options, g=g)


def naive_chunk_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    chunk_size: int = 64,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """In chunks, whose size is the stand-in's own: it does not change the numbers."""
    options = Options(scale=scale, initial_state=initial_state, output_final_state=output_final_state)
    return attend(q, k, v, options, g=g)
