"""Kimi delta attention (arXiv 2510.26692): the delta rule with a decay per key dimension."""

from __future__ import annotations

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed
from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known, only_none
from fla.ops.gated_delta_rule.chunk import beta_from_logits
from fla.ops.kda.gate import fused_kda_gate


def chunk_kda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    state_v_first: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    cu_seqlens_cpu: torch.LongTensor | None = None,
    cp_context: Any | None = None,
    use_graph: bool = False,
    max_num_seqs: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As `chunk_gated_delta_rule` with g of shape (batch, length, value heads, K).

    With use_gate_in_kernel=True g is what A_log, dt_bias and lower_bound make a decay of (`fla.ops.kda.gate`).
    """
    only_known("chunk_kda", kwargs, "chunk_size", "A_log", "dt_bias", "transpose_state_layout")
    only_none("chunk_kda", cp_context=cp_context, return_intermediate_states=return_intermediate_states)
    return fused_recurrent_kda(
        q,
        k,
        v,
        g,
        beta,
        kwargs.get("A_log"),
        kwargs.get("dt_bias"),
        scale,
        initial_state,
        output_final_state,
        use_qk_l2norm_in_kernel,
        use_gate_in_kernel,
        use_beta_sigmoid_in_kernel,
        allow_neg_eigval,
        lower_bound,
        state_v_first or kwargs.get("transpose_state_layout", False),
        cu_seqlens,
    )


def fused_recurrent_kda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    A_log: torch.Tensor | None = None,  # noqa: N803 - the name that callers use
    dt_bias: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    lower_bound: float | None = None,
    state_v_first: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """See `chunk_kda`; the same chunks under the name of the kernel for single tokens."""
    only_known("fused_recurrent_kda", kwargs, "transpose_state_layout")
    options = Options(
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        normalize=use_qk_l2norm_in_kernel,
        state_v_first=state_v_first or kwargs.get("transpose_state_layout", False),
        cu_seqlens=cu_seqlens,
    )
    if use_gate_in_kernel:
        g = fused_kda_gate(g, A_log, dt_bias, lower_bound, torch.promote_types(g.dtype, torch.float32))
    return attend(q, k, v, options, beta=beta_from_logits(beta, use_beta_sigmoid_in_kernel, allow_neg_eigval), gk=g)
