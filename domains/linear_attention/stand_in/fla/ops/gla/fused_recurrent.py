"""Gated linear attention (arXiv 2312.06635), under the name of the kernel for single tokens."""

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known


def fused_recurrent_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gk: torch.Tensor | None = None,
    gv: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As `chunk_gla`, with gates per key dimension gk and value dimension gv (that one is slow)."""
    only_known("fused_recurrent_gla", kwargs, "head_first", "transpose_state_layout")
    options = Options(
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        reverse=reverse,
        state_v_first=state_v_first or kwargs.get("transpose_state_layout", False),
        head_first=kwargs.get("head_first", False),
        cu_seqlens=cu_seqlens,
    )
    return attend(q, k, v, options, gk=gk, gv=gv)
