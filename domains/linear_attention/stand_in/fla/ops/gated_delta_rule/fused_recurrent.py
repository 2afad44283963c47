"""The gated delta rule (arXiv 2412.06464), under the name of the kernel for single tokens."""

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known
from fla.ops.gated_delta_rule.chunk import beta_from_logits, decay_from_gate


def fused_recurrent_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    gk: torch.Tensor | None = None,
    gv: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    A_log: torch.Tensor | None = None,  # noqa: N803 - the name that callers use
    dt_bias: torch.Tensor | None = None,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As `chunk_gated_delta_rule`, with gates per head g, key dimension gk and value dimension gv (which is slow)."""
    only_known("fused_recurrent_gated_delta_rule", kwargs, "head_first", "transpose_state_layout")
    beta = torch.ones_like(v[..., 0]) if beta is None else beta
    options = Options(
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        normalize=use_qk_l2norm_in_kernel,
        state_v_first=state_v_first or kwargs.get("transpose_state_layout", False),
        head_first=kwargs.get("head_first", False),
        cu_seqlens=cu_seqlens,
    )
    if use_gate_in_kernel:
        g = decay_from_gate(g, A_log, dt_bias)
    beta = beta_from_logits(beta, use_beta_sigmoid_in_kernel, allow_neg_eigval)
    return attend(q, k, v, options, beta=beta, g=g, gk=gk, gv=gv)


fused_recurrent_gdn = fused_recurrent_gated_delta_rule
