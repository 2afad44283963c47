"""The path that flash-linear-attention has for this name."""

from fla.ops.retention.chunk import fused_recurrent_retention

__all__ = ["fused_recurrent_retention"]
