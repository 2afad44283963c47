"""A name that flash-linear-attention keeps and refuses; older code calls it, and here it works."""

from fla.ops.gla.chunk import chunk_gla as fused_chunk_gla

__all__ = ["fused_chunk_gla"]
