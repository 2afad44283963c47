"""DeltaNet (arXiv 2406.06484)."""

# ruff: noqa: ARG002 - arguments that layers of flash-linear-attention take and that change nothing here

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fla.layers._mixer import Mixer, heads, whole
from fla.modules import FusedRMSNormGated, RMSNorm
from fla.modules.activations import elu_p1
from fla.ops.delta_rule import chunk_delta_rule


class DeltaNet(Mixer):
    """The delta rule with short convolutions; every mode gives the same numbers here."""

    def __init__(
        self,
        mode: str = "chunk",
        d_model: int | None = None,
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        num_heads: int = 4,
        use_beta: bool = True,
        use_gate: bool = False,
        use_short_conv: bool = True,
        conv_size: int = 4,
        conv_bias: bool = False,
        allow_neg_eigval: bool = False,
        layer_idx: int | None = None,
        qk_activation: str = "silu",
        qk_norm: str = "l2",
        norm_eps: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.check(mode, ("chunk", "fused_recurrent", "fused_chunk"))
        if qk_activation not in ("silu", "relu", "elu", "identity") or qk_norm not in ("l2", "sum"):
            raise ValueError(f"Expected a known qk_activation and qk_norm, but got {qk_activation} and {qk_norm}.")
        hidden_size = hidden_size if d_model is None else d_model
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.use_beta = use_beta
        self.use_gate = use_gate
        self.use_short_conv = use_short_conv
        self.allow_neg_eigval = allow_neg_eigval
        self.layer_idx = layer_idx
        self.qk_activation = qk_activation
        self.qk_norm = qk_norm
        self.key_dim, self.value_dim = (whole(hidden_size, expand, num_heads) for expand in (expand_k, expand_v))
        self.head_k_dim, self.head_v_dim = self.key_dim // num_heads, self.value_dim // num_heads
        self.project(hidden_size, (self.key_dim, self.key_dim, self.value_dim))
        if use_beta:
            self.b_proj = nn.Linear(hidden_size, num_heads, bias=False)
        if use_short_conv:
            self.convolve(conv_size, conv_bias, "silu" if qk_activation == "silu" else None)
        else:
            warnings.warn("DeltaNet without short convolutions is much weaker.", stacklevel=2)
        if use_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
            self.o_norm = FusedRMSNormGated(self.head_v_dim, eps=norm_eps)
        else:
            self.o_norm = RMSNorm(self.head_v_dim, eps=norm_eps, dtype=torch.float32)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def mix(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, common: dict[str, Any], seen: int
    ) -> tuple[Tensor, Any]:
        if not self.use_short_conv:
            v = functional.silu(v)
        q, k, v = heads(q, self.head_k_dim), heads(k, self.head_k_dim), heads(v, self.head_v_dim)
        q, k = self._activated(q), self._activated(k)
        beta = self.b_proj(hidden_states).sigmoid() if self.use_beta else torch.ones_like(q[..., 0])
        if self.allow_neg_eigval:
            beta = 2 * beta
        return chunk_delta_rule(q, k, v, beta, use_qk_l2norm_in_kernel=self.qk_norm == "l2", **common)

    def _activated(self, x: Tensor) -> Tensor:
        if self.qk_activation == "silu" and not self.use_short_conv:
            x = functional.silu(x)
        elif self.qk_activation == "relu":
            x = x.relu()
        elif self.qk_activation == "elu":
            x = elu_p1(x)
        return functional.normalize(x, p=1, dim=-1, eps=1e-6) if self.qk_norm == "sum" else x

    def normed(self, outputs: Tensor, hidden_states: Tensor) -> Tensor:
        if self.use_gate:
            return self.o_norm(outputs, heads(self.g_proj(hidden_states), self.head_v_dim))
        return self.o_norm(outputs)
