"""Rotary position embedding (arXiv 2104.09864)."""

# ruff: noqa: ARG002 - arguments of kernels that change how and not what is computed

from __future__ import annotations

import torch
from torch import nn

from fla.ops._attend import only_none


def rotate_half(x: torch.Tensor, interleaved: bool = False) -> torch.Tensor:
    """(first, second) -> (-second, first); the halves alternate if interleaved."""
    if interleaved:
        return torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    first, second = x.chunk(2, -1)
    return torch.cat((-second, first), -1)


def rotary_embedding_ref(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool = False
) -> torch.Tensor:
    """x: (batch, length, heads, width); cos, sin: (length, rotated width / 2) or one such for each of the batch."""
    width = cos.shape[-1] * 2
    cos, sin = (y.repeat_interleave(2, -1) if interleaved else torch.cat([y, y], -1) for y in (cos, sin))
    rotated = x[..., :width] * cos.unsqueeze(-2) + rotate_half(x[..., :width], interleaved) * sin.unsqueeze(-2)
    return torch.cat([rotated, x[..., width:]], -1)


def rotary_embedding(
    x: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    interleaved: bool = False,
    inplace: bool = False,
    seqlen_offsets: int | torch.Tensor = 0,
    cu_seqlens: torch.Tensor | None = None,
    chunk_indices: torch.LongTensor | None = None,
) -> torch.Tensor:
    """x: (batch, length, heads, width); cos, sin: (positions, rotated width / 2); seqlen_offsets: where x starts."""
    only_none("rotary_embedding", inplace=inplace, chunk_indices=chunk_indices)
    at = _positions(x, seqlen_offsets, cu_seqlens)
    return rotary_embedding_ref(x, cos[at].to(x.dtype), sin[at].to(x.dtype), interleaved)


def _positions(x: torch.Tensor, offset: int | torch.Tensor, cu_seqlens: torch.Tensor | None) -> torch.Tensor:
    """(length) or (batch, length) where the offsets differ; positions start anew in each of `cu_seqlens`."""
    at = torch.arange(x.shape[1], device=x.device)
    if cu_seqlens is not None:
        sizes = cu_seqlens.diff()
        at = at - torch.repeat_interleave(cu_seqlens[:-1], sizes)
        return at + (torch.repeat_interleave(offset, sizes) if isinstance(offset, torch.Tensor) else offset)
    return at + (offset.unsqueeze(-1) if isinstance(offset, torch.Tensor) else offset)


class RotaryEmbedding(nn.Module):
    """Rotates q and k, (batch, length, heads, width), by their positions times base^(-2 i / dim)."""

    inv_freq: torch.Tensor

    def __init__(
        self,
        dim: int,
        base: float = 10000.0,
        scale_base: float | None = None,
        interleaved: bool = False,
        pos_idx_in_fp32: bool = True,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        only_none("RotaryEmbedding", scale_base=scale_base)
        self.dim = dim
        self.base = float(base)
        self.interleaved = interleaved
        self.pos_idx_in_fp32 = pos_idx_in_fp32
        steps = torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim
        self.register_buffer("inv_freq", self.base**-steps, persistent=False)

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        seqlen_offset: int | torch.Tensor = 0,
        cu_seqlens: torch.Tensor | None = None,
        max_seqlen: int | None = None,
        chunk_indices: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        at = _positions(q, seqlen_offset, cu_seqlens)
        angles = at.unsqueeze(-1).float() * self.inv_freq.float()
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
        q, k = (rotary_embedding_ref(x, cos, sin, self.interleaved) for x in (q, k))
        return q, k
