"""`chunk_linear_attn` under the name of another kernel for the same."""

from fla.ops.linear_attn.chunk import chunk_linear_attn as fused_chunk_linear_attn

__all__ = ["fused_chunk_linear_attn"]
