"""Gated linear attention token by token."""

from __future__ import annotations

import torch

from fla.ops._attend import Options, attend


def naive_recurrent_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gk: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """q, k, gk: (batch, length, heads, K); v: (batch, length, heads, V)."""
    options = Options(initial_state=initial_state, output_final_state=output_final_state, token_by_token=True)
    return attend(q, k, v, options, gk=gk)
