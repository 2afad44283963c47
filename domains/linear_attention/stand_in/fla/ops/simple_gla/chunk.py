"""Gated linear attention with one gate a head, as in Mamba2 (arXiv 2405.21060) and RetNet (arXiv 2307.08621)."""

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known


def chunk_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    g_gamma: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    cu_seqlens_cpu: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = exp(g_t) S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t, with scale 1 / sqrt(K) unless given.

    q, k: (batch, length, heads, K); v: (batch, length, heads, V); g: (batch, length, heads), or the same gate for all
    tokens g_gamma: (heads), or neither: no decay.
    Returns outputs of the shape of v and None or the final state (sequences, heads, K, V).
    """
    only_known("chunk_simple_gla", kwargs, "head_first", "chunk_size")
    head_first = kwargs.get("head_first", False)
    options = Options(
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        state_v_first=state_v_first,
        head_first=head_first,
        cu_seqlens=cu_seqlens,
    )
    return attend(q, k, v, options, g=one_gate(g, g_gamma, v, head_first))


def one_gate(
    g: torch.Tensor | None, g_gamma: torch.Tensor | None, v: torch.Tensor, head_first: bool
) -> torch.Tensor | None:
    """The gate of every token: g, or g_gamma for each."""
    if g_gamma is None:
        return g
    if g is not None:
        raise ValueError("Expected `g` or `g_gamma`, but got both. Leave one out.")
    g_gamma = g_gamma.to(torch.promote_types(g_gamma.dtype, torch.float32))
    return (g_gamma.unsqueeze(-1) if head_first else g_gamma).expand(v.shape[:3])
