"""`chunk_simple_gla` under the name of the kernel that forms the whole matrix; here nothing does."""

from __future__ import annotations

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed
import torch

from fla.ops._attend import only_none
from fla.ops.simple_gla.chunk import chunk_simple_gla


def parallel_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    scale: float | None = None,
    output_attentions: bool = False,
    cu_seqlens: torch.LongTensor | None = None,
    cu_seqlens_cpu: torch.LongTensor | None = None,
) -> tuple[torch.Tensor, None]:
    """Returns outputs and None; the matrix of attentions is refused."""
    only_none("parallel_simple_gla", output_attentions=output_attentions)
    return chunk_simple_gla(q, k, v, g, scale=scale, cu_seqlens=cu_seqlens)[0], None
