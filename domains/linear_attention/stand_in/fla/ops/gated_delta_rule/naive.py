"""The gated delta rule as flash-linear-attention's naive functions have it: (batch, length, heads, width)."""

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed

from __future__ import annotations

import torch

from fla.ops._attend import Options, attend


def naive_recurrent_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor,
    g: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Token by token; mind that beta comes before g."""
    options = Options(
        scale=scale, initial_state=initial_state, output_final_state=output_final_state, token_by_token=True
    )
    return attend(q, k, v, options, beta=beta, g=g)


def naive_chunk_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    chunk_size: int = 64,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """In chunks, whose size is the stand-in's own: it does not change the numbers."""
    options = Options(scale=scale, initial_state=initial_state, output_final_state=output_final_state)
    return attend(q, k, v, options, beta=beta, g=g)
