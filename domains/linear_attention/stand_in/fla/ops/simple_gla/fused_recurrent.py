"""`chunk_simple_gla` under the name of the kernel for single tokens."""

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, attend, only_known
from fla.ops.simple_gla.chunk import one_gate


def fused_recurrent_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    g_gamma: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """See `chunk_simple_gla`; reverse=True runs each sequence from its end."""
    only_known("fused_recurrent_simple_gla", kwargs, "head_first", "transpose_state_layout")
    head_first = kwargs.get("head_first", False)
    options = Options(
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        reverse=reverse,
        state_v_first=state_v_first or kwargs.get("transpose_state_layout", False),
        head_first=head_first,
        cu_seqlens=cu_seqlens,
    )
    return attend(q, k, v, options, g=one_gate(g, g_gamma, v, head_first))
