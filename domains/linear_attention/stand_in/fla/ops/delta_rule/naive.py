"""The delta rule as flash-linear-attention's naive functions have it: tensors are (batch, heads, length, width)."""

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed

from __future__ import annotations

import torch

from fla.ops._attend import Options, attend


def delta_rule_recurrence(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Token by token. beta: (batch, heads, length), or with one number per value dimension."""
    options = Options(
        initial_state=initial_state, output_final_state=output_final_state, head_first=True, token_by_token=True
    )
    return attend(q, k, v, options, beta=beta)


def delta_rule_chunkwise(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, beta: torch.Tensor, chunk_size: int = 32
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """In chunks, whose size is the stand-in's own: it does not change the numbers."""
    return attend(q, k, v, Options(output_final_state=True, head_first=True), beta=beta)
