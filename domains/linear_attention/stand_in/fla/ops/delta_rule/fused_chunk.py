"""A name that flash-linear-attention keeps and refuses; older code calls it, and here it works."""

from fla.ops.delta_rule.chunk import chunk_delta_rule as fused_chunk_delta_rule

__all__ = ["fused_chunk_delta_rule"]
