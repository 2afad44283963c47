"""The difference to the token before (RWKV, arXiv 2305.13048)."""

from __future__ import annotations

# ruff: noqa: ARG001 - arguments of kernels that change how and not what is computed
import torch
from torch.nn import functional

from fla.ops._attend import only_none
from fla.ops._sequences import Sequences


def token_shift(
    x: torch.Tensor,
    cu_seqlens: torch.LongTensor | None = None,
    cache: torch.Tensor | None = None,
    output_cache: bool = False,
    chunk_indices: torch.LongTensor | None = None,
) -> torch.Tensor:
    """x_{t-1} - x_t with 0 before the start. x: (batch, length, width). The cache is refused."""
    only_none("token_shift", cache=cache, output_cache=output_cache)
    if cu_seqlens is None:
        return functional.pad(x, (0, 0, 1, 0))[:, :-1] - x
    sequences = Sequences(cu_seqlens, *x.shape[:2])
    return sequences.together(functional.pad(sequences.apart(x), (0, 0, 1, 0))[:, :-1]) - x
