"""The gated delta rule (arXiv 2412.06464)."""

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known, only_none
from fla.ops.gated_delta_rule.gate import naive_gdn_gate


def chunk_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    cu_seqlens_cpu: torch.LongTensor | None = None,
    chunk_indices: torch.LongTensor | None = None,
    cp_context: Any | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = exp(g_t) S_{t-1} + beta_t k_t (v_t - exp(g_t) S_{t-1}^T k_t)^T, o_t = scale S_t^T q_t.

    q, k: (batch, length, heads, K); v: (batch, length, value heads, V); g, beta: (batch, length, value heads).
    With use_gate_in_kernel=True g is what A_log and dt_bias make a decay of (`fla.ops.gated_delta_rule.gate`).
    Returns outputs of the shape of v and None or the final state (sequences, value heads, K, V).
    """
    known = ("head_first", "chunk_size", "use_gate_in_kernel", "A_log", "dt_bias", "transpose_state_layout")
    only_known("chunk_gated_delta_rule", kwargs, *known)
    only_none("chunk_gated_delta_rule", cp_context=cp_context)
    if kwargs.get("use_gate_in_kernel", False):
        g = decay_from_gate(g, kwargs.get("A_log"), kwargs.get("dt_bias"))
    options = Options(
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        normalize=use_qk_l2norm_in_kernel,
        state_v_first=state_v_first or kwargs.get("transpose_state_layout", False),
        head_first=kwargs.get("head_first", False),
        cu_seqlens=cu_seqlens,
    )
    beta = beta_from_logits(beta, use_beta_sigmoid_in_kernel, allow_neg_eigval)
    return attend(q, k, v, options, beta=beta, g=g)


def decay_from_gate(g: torch.Tensor | None, a_log: torch.Tensor | None, dt_bias: torch.Tensor | None) -> torch.Tensor:
    if a_log is None or g is None:
        raise ValueError("Expected `g` and `A_log` with use_gate_in_kernel=True, but got None. Give both.")
    return naive_gdn_gate(g, a_log, dt_bias, torch.promote_types(g.dtype, torch.float32))


def beta_from_logits(beta: torch.Tensor, logits: bool, allow_neg_eigval: bool) -> torch.Tensor:
    """beta as it is, or the sigmoid of it, or twice that."""
    if allow_neg_eigval and not logits:
        raise ValueError("`allow_neg_eigval=True` requires `use_beta_sigmoid_in_kernel=True`.")
    if not logits:
        return beta
    beta = beta.to(torch.promote_types(beta.dtype, torch.float32)).sigmoid()
    return 2 * beta if allow_neg_eigval else beta


chunk_gdn = chunk_gated_delta_rule
