"""Gated linear attention (arXiv 2312.06635)."""

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known


def chunk_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    cu_seqlens_cpu: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t, with scale 1 / sqrt(K) unless given.

    q, k, g: (batch, length, heads, K); v: (batch, length, heads, V).
    Returns outputs of the shape of v and None or the final state (sequences, heads, K, V).
    """
    only_known("chunk_gla", kwargs, "head_first", "chunk_size")
    options = Options(
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        state_v_first=state_v_first,
        head_first=kwargs.get("head_first", False),
        cu_seqlens=cu_seqlens,
    )
    return attend(q, k, v, options, gk=g)
