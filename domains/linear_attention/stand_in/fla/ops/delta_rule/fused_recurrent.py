"""The delta rule (arXiv 2406.06484), under the name of the kernel for single tokens; the same chunks as `chunk`."""

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known


def fused_recurrent_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As `chunk_delta_rule`; beta is 1 unless given, and may have one number per value dimension (then it is slow)."""
    only_known("fused_recurrent_delta_rule", kwargs, "head_first")
    options = Options(
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        normalize=use_qk_l2norm_in_kernel,
        head_first=kwargs.get("head_first", False),
        cu_seqlens=cu_seqlens,
    )
    return attend(q, k, v, options, beta=torch.ones_like(q[..., 0]) if beta is None else beta)
