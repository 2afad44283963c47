"""The decay of Kimi delta attention (arXiv 2510.26692): one number per key dimension."""

from __future__ import annotations

import torch
from torch.nn import functional


def fused_kda_gate(
    g: torch.Tensor,
    A_log: torch.Tensor | None = None,  # noqa: N803 - the name that callers use
    dt_bias: torch.Tensor | None = None,
    lower_bound: float | None = None,
    output_dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """-exp(A_log) softplus(g + dt_bias), or lower_bound sigmoid(exp(A_log) (g + dt_bias)) where there is a bound.

    g: (..., heads, K); A_log: (heads); dt_bias: (heads K).
    """
    precision = torch.promote_types(g.dtype, torch.float32)
    g = g.to(precision)
    if dt_bias is not None:
        g = g + dt_bias.to(precision).view(g.shape[-2:])
    rate = None if A_log is None else A_log.to(precision).view(-1, 1).exp()
    if lower_bound is not None:
        return (lower_bound * (g if rate is None else rate * g).sigmoid()).to(output_dtype)
    if rate is None:
        raise ValueError("Expected `A_log` or `lower_bound`, but got None. Give one of them.")
    return (-rate * functional.softplus(g)).to(output_dtype)


def naive_kda_gate(
    g: torch.Tensor,
    A_log: torch.Tensor,  # noqa: N803 - the name that callers use
    dt_bias: torch.Tensor | None = None,
    output_dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """`fused_kda_gate` without a bound."""
    return fused_kda_gate(g, A_log, dt_bias, None, output_dtype)
