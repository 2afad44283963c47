"""Kimi delta attention token by token."""

from __future__ import annotations

import torch

from fla.ops._attend import Options, attend


def naive_recurrent_kda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Shapes as for `chunk_kda`."""
    options = Options(
        scale=scale, initial_state=initial_state, output_final_state=output_final_state, token_by_token=True
    )
    return attend(q, k, v, options, beta=beta, gk=g)
