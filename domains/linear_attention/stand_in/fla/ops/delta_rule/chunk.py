"""The delta rule (arXiv 2406.06484)."""

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known


def chunk_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    cu_seqlens_cpu: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T, o_t = scale S_t^T q_t, with scale 1 / sqrt(K) unless given.

    q, k: (batch, length, heads, K); v: (batch, length, heads, V); beta: (batch, length, heads).
    Returns outputs of the shape of v and None or the final state (sequences, heads, K, V).
    """
    only_known("chunk_delta_rule", kwargs, "head_first", "chunk_size")
    options = Options(
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        normalize=use_qk_l2norm_in_kernel,
        head_first=kwargs.get("head_first", False),
        cu_seqlens=cu_seqlens,
    )
    return attend(q, k, v, options, beta=beta)
