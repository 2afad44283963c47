"""Linear attention (arXiv 2006.16236)."""

# ruff: noqa: ARG002 - arguments that layers of flash-linear-attention take and that change nothing here

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fla.layers._mixer import Mixer, heads, whole
from fla.modules import RMSNorm
from fla.modules.activations import elu_p1
from fla.modules.feature_map import DPFPFeatureMap, HadamardFeatureMap, HedgehogFeatureMap, T2RFeatureMap
from fla.ops.linear_attn import chunk_linear_attn

LEARNED = {"hedgehog": HedgehogFeatureMap, "t2r": T2RFeatureMap, "elementwise_product": HadamardFeatureMap}
FIXED: dict[str, Callable[[int], Any]] = {
    "dpfp": DPFPFeatureMap,
    "elu": lambda _: elu_p1,
    "relu": lambda _: nn.ReLU(),
    "identity": lambda _: nn.Identity(),
}


class LinearAttention(Mixer):
    """Linear attention with a feature map; every mode gives the same numbers here."""

    use_short_conv = False

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        num_heads: int = 8,
        num_kv_heads: int | None = None,
        feature_map: str = "elementwise_product",
        tie_feature_map_qk: bool = False,
        output_norm: str = "rmsnorm",
        norm_q: bool = False,
        norm_k: bool = False,
        do_feature_map_norm: bool = False,
        elementwise_affine: bool = True,
        norm_eps: float = 1e-5,
        layer_idx: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.check(mode, ("chunk", "fused_chunk", "fused_recurrent"))
        make = {**LEARNED, **FIXED}.get(feature_map)
        if make is None or output_norm not in ("rmsnorm", "identity"):
            raise ValueError(f"Expected a known feature map and norm, but got {feature_map} and {output_norm}.")
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.num_kv_groups = num_heads // self.num_kv_heads
        self.do_feature_map_norm = do_feature_map_norm
        self.norm_q = norm_q
        self.norm_k = norm_k
        self.layer_idx = layer_idx
        self.key_dim, self.value_dim = (whole(hidden_size, expand, num_heads) for expand in (expand_k, expand_v))
        self.head_k_dim, self.head_v_dim = self.key_dim // num_heads, self.value_dim // num_heads
        self.feature_map_q = make(self.head_k_dim)
        tied = tie_feature_map_qk and feature_map in LEARNED
        self.feature_map_k = self.feature_map_q if tied else make(self.head_k_dim)
        key_width, value_width = (width // self.num_kv_groups for width in (self.key_dim, self.value_dim))
        self.project(hidden_size, (self.key_dim, key_width, value_width))
        self.norm: nn.Module = nn.Identity()
        if output_norm == "rmsnorm":
            self.norm = RMSNorm(self.head_v_dim, elementwise_affine, eps=norm_eps, dtype=torch.float32)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def mix(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, common: dict[str, Any], seen: int
    ) -> tuple[Tensor, Any]:
        q = self.feature_map_q(heads(q, self.head_k_dim))
        k = self.feature_map_k(heads(k, self.head_k_dim, self.num_kv_groups))
        if self.norm_q:
            q = q / (q.sum(-1, True) + 1e-4)
        if self.norm_k:
            k = k / (k.sum(-1, True) + 1e-4)
        v = heads(v, self.head_v_dim, self.num_kv_groups)
        return chunk_linear_attn(q, k, v, normalize=self.do_feature_map_norm, **common)

    def normed(self, outputs: Tensor, hidden_states: Tensor) -> Tensor:
        return self.norm(outputs)
