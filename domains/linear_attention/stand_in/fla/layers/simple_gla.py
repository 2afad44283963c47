"""Gated linear attention with one gate a head (as Mamba2's, arXiv 2405.21060)."""

# ruff: noqa: ARG002 - arguments that other layers make use of

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from fla.layers._mixer import GatedOutput, heads, whole
from fla.modules.activations import ACT2FN
from fla.ops.simple_gla import chunk_simple_gla


class SimpleGatedLinearAttention(GatedOutput):
    """Linear attention with a decay per head; every mode gives the same numbers here."""

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        num_heads: int = 4,
        num_kv_heads: int | None = None,
        feature_map: str | None = None,
        use_short_conv: bool = True,
        conv_size: int = 4,
        conv_bias: bool = False,
        gate_fn: str = "swish",
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        gate_logit_normalizer: int = 16,
        fuse_norm: bool = True,
        layer_idx: int | None = None,
    ) -> None:
        super().__init__()
        self.check(mode, ("chunk", "fused_recurrent"))
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.num_kv_groups = num_heads // self.num_kv_heads
        self.feature_map_fn = None if feature_map is None else ACT2FN[feature_map]
        self.use_short_conv = use_short_conv
        self.gate_logit_normalizer = gate_logit_normalizer
        self.layer_idx = layer_idx
        self.key_dim, self.value_dim = (whole(hidden_size, expand, num_heads) for expand in (expand_k, expand_v))
        self.head_k_dim, self.head_v_dim = self.key_dim // num_heads, self.value_dim // num_heads
        key_width, value_width = (width // self.num_kv_groups for width in (self.key_dim, self.value_dim))
        self.project(hidden_size, (self.key_dim, key_width, value_width))
        self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        if use_short_conv:
            self.convolve(conv_size, conv_bias)
        self.gk_proj = nn.Linear(hidden_size, num_heads)
        self.norm_and_gate(self.head_v_dim, gate_fn, fuse_norm, elementwise_affine, norm_eps)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def mix(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, common: dict[str, Any], seen: int
    ) -> tuple[Tensor, Any]:
        gate = functional.logsigmoid(self.gk_proj(hidden_states)) / self.gate_logit_normalizer
        if self.feature_map_fn is not None:
            q, k = self.feature_map_fn(q), self.feature_map_fn(k)
        q, k = heads(q, self.head_k_dim), heads(k, self.head_k_dim, self.num_kv_groups)
        v = heads(v, self.head_v_dim, self.num_kv_groups)
        return chunk_simple_gla(q, k, v, gate, state_v_first=True, **common)
