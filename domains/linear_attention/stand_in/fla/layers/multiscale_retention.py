"""Multi-scale retention (RetNet, arXiv 2307.08621)."""

# ruff: noqa: ARG002 - arguments that layers of flash-linear-attention take and that change nothing here

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fla.layers._mixer import GatedOutput, heads, whole
from fla.modules import RotaryEmbedding
from fla.modules.activations import ACT2FN
from fla.ops.retention import chunk_retention


class MultiScaleRetention(GatedOutput):
    """Linear attention with rotary positions and a fixed decay per head; every mode gives the same numbers here."""

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 2.0,
        num_heads: int = 8,
        num_kv_heads: int | None = None,
        feature_map: str | None = None,
        use_short_conv: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        use_output_gate: bool = True,
        gate_fn: str = "swish",
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        fuse_norm: bool = True,
        layer_idx: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.check(mode, ("chunk", "fused_chunk", "parallel", "fused_recurrent"))
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.num_kv_groups = num_heads // self.num_kv_heads
        self.feature_map_fn = None if feature_map is None else ACT2FN[feature_map]
        self.use_short_conv = use_short_conv
        self.use_output_gate = use_output_gate
        self.layer_idx = layer_idx
        self.key_dim, self.value_dim = (whole(hidden_size, expand, num_heads) for expand in (expand_k, expand_v))
        self.head_k_dim, self.head_v_dim = self.key_dim // num_heads, self.value_dim // num_heads
        key_width, value_width = (width // self.num_kv_groups for width in (self.key_dim, self.value_dim))
        self.project(hidden_size, (self.key_dim, key_width, value_width))
        if use_output_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        if use_short_conv:
            self.convolve(conv_size, conv_bias)
        self.norm_and_gate(self.head_v_dim, gate_fn, fuse_norm, elementwise_affine, norm_eps)
        self.rotary = RotaryEmbedding(self.head_k_dim)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def mix(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, common: dict[str, Any], seen: int
    ) -> tuple[Tensor, Any]:
        q, k = heads(q, self.head_k_dim), heads(k, self.head_k_dim)
        if self.feature_map_fn is not None:
            q, k = self.feature_map_fn(q), self.feature_map_fn(k)
        q, k = self.rotary(q, k, seqlen_offset=seen, cu_seqlens=common["cu_seqlens"])
        if self.num_kv_groups > 1:
            k = k.repeat_interleave(self.num_kv_groups, -2)
        return chunk_retention(q, k, heads(v, self.head_v_dim, self.num_kv_groups), **common)
