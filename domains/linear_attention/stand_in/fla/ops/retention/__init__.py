"""Retention."""

from fla.ops.retention.chunk import chunk_retention, fused_recurrent_retention
from fla.ops.retention.chunk import chunk_retention as fused_chunk_retention

__all__ = ["chunk_retention", "fused_chunk_retention", "fused_recurrent_retention"]
