"""Gated DeltaNet (arXiv 2412.06464)."""

# ruff: noqa: ARG002 - arguments that layers of flash-linear-attention take and that change nothing here

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from fla.layers._mixer import Mixer, heads, time_step_bias, whole
from fla.modules import FusedRMSNormGated, RMSNorm
from fla.ops.gated_delta_rule import chunk_gated_delta_rule


class GatedDeltaNet(Mixer):
    """The gated delta rule with short convolutions; every mode gives the same numbers here."""

    silu_without_convolution = True

    def __init__(
        self,
        hidden_size: int = 2048,
        expand_v: float = 2,
        head_dim: int = 256,
        num_heads: int = 6,
        num_v_heads: int | None = None,
        mode: str = "chunk",
        use_gate: bool = True,
        use_short_conv: bool = True,
        allow_neg_eigval: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        layer_idx: int | None = None,
        norm_eps: float = 1e-5,
        output_gate_activation: str = "swish",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.check(mode, ("chunk", "fused_recurrent"))
        self.hidden_size = hidden_size
        self.use_gate = use_gate
        self.use_short_conv = use_short_conv
        self.allow_neg_eigval = allow_neg_eigval
        self.layer_idx = layer_idx
        self.num_heads = num_heads
        self.num_v_heads = num_heads if num_v_heads is None else num_v_heads
        if self.num_v_heads % num_heads:
            raise ValueError(f"Expected num_v_heads to be a multiple of {num_heads}, but got {num_v_heads}.")
        self.head_dim = self.head_k_dim = head_dim
        self.head_v_dim = whole(head_dim, expand_v, 1)
        self.key_dim, self.value_dim = num_heads * head_dim, self.num_v_heads * self.head_v_dim
        self.project(hidden_size, (self.key_dim, self.key_dim, self.value_dim))
        self.a_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.b_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(self.num_v_heads).uniform_(0, 16).log())
        self.dt_bias = nn.Parameter(time_step_bias(self.num_v_heads))
        self.A_log._no_weight_decay = self.dt_bias._no_weight_decay = True  # type: ignore[attr-defined]
        if use_short_conv:
            self.convolve(conv_size, conv_bias)
        else:
            warnings.warn("Gated DeltaNet without short convolutions is much weaker.", stacklevel=2)
        if use_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
            self.o_norm = FusedRMSNormGated(self.head_v_dim, eps=norm_eps, activation=output_gate_activation)
        else:
            self.o_norm = RMSNorm(self.head_v_dim, eps=norm_eps, dtype=torch.float32)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def mix(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, common: dict[str, Any], seen: int
    ) -> tuple[Tensor, Any]:
        return chunk_gated_delta_rule(
            heads(q, self.head_k_dim),
            heads(k, self.head_k_dim),
            heads(v, self.head_v_dim),
            self.a_proj(hidden_states),
            self.b_proj(hidden_states),
            use_qk_l2norm_in_kernel=True,
            use_gate_in_kernel=True,
            A_log=self.A_log,
            dt_bias=self.dt_bias,
            use_beta_sigmoid_in_kernel=True,
            allow_neg_eigval=self.allow_neg_eigval,
            state_v_first=True,
            **common,
        )

    def normed(self, outputs: Tensor, hidden_states: Tensor) -> Tensor:
        if self.use_gate:
            return self.o_norm(outputs, heads(self.g_proj(hidden_states), self.head_v_dim))
        return self.o_norm(outputs)
