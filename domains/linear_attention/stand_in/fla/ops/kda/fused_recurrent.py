"""The path that flash-linear-attention has for this name."""

from fla.ops.kda.chunk import fused_recurrent_kda

__all__ = ["fused_recurrent_kda"]
