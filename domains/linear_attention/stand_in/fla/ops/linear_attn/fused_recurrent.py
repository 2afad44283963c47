"""`chunk_linear_attn` under the name of the kernel for single tokens; not normalized unless asked for."""

from __future__ import annotations

from typing import Any

import torch

from fla.ops._attend import Options, only_known
from fla.ops.linear_attn.chunk import State, linear_attention


def fused_recurrent_linear_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    normalize: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, Any]:
    """See `chunk_linear_attn`; reverse=True runs each sequence from its end."""
    only_known("fused_recurrent_linear_attn", kwargs, "head_first")
    options = Options(
        scale=scale,
        output_final_state=output_final_state,
        reverse=reverse,
        head_first=kwargs.get("head_first", False),
        cu_seqlens=cu_seqlens,
    )
    return linear_attention(q, k, v, options, initial_state, normalize)
