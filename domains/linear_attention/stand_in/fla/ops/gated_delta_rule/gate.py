"""The decay of the gated delta rule, as in Mamba2 (arXiv 2405.21060): -exp(A_log) softplus(g + dt_bias)."""

from __future__ import annotations

import torch
from torch.nn import functional


def naive_gdn_gate(
    g: torch.Tensor,
    A_log: torch.Tensor,  # noqa: N803 - the name that callers use
    dt_bias: torch.Tensor | None = None,
    output_dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """g: (..., value heads); A_log, dt_bias: (value heads)."""
    precision = torch.promote_types(g.dtype, torch.float32)
    g = g.to(precision)
    if dt_bias is not None:
        g = g + dt_bias.to(precision)
    return (-A_log.to(precision).exp() * functional.softplus(g)).to(output_dtype)


fused_gdn_gate = naive_gdn_gate
