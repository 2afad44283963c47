"""Kimi delta attention (arXiv 2510.26692)."""

# ruff: noqa: ARG002 - arguments that layers of flash-linear-attention take and that change nothing here

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fla.layers._mixer import Mixer, heads, time_step_bias, whole
from fla.modules import FusedRMSNormGated
from fla.ops.kda import chunk_kda


class KimiDeltaAttention(Mixer):
    """The delta rule with a decay per key dimension; every mode gives the same numbers here."""

    silu_without_convolution = True

    def __init__(
        self,
        hidden_size: int = 2048,
        expand_v: float = 1,
        head_dim: int = 128,
        num_heads: int = 16,
        num_v_heads: int | None = None,
        mode: str = "chunk",
        use_short_conv: bool = True,
        allow_neg_eigval: bool = False,
        safe_gate: bool = False,
        lower_bound: float | None = None,
        conv_size: int = 4,
        conv_bias: bool = False,
        layer_idx: int | None = None,
        norm_eps: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.check(mode, ("chunk", "fused_recurrent"))
        self.hidden_size = hidden_size
        self.use_short_conv = use_short_conv
        self.allow_neg_eigval = allow_neg_eigval
        self.safe_gate = safe_gate
        self.lower_bound = lower_bound
        self.layer_idx = layer_idx
        self.num_heads = num_heads
        self.num_v_heads = num_heads if num_v_heads is None else num_v_heads
        self.head_dim = self.head_k_dim = head_dim
        self.head_v_dim = whole(head_dim, expand_v, 1)
        self.key_dim, self.value_dim = num_heads * head_dim, self.num_v_heads * self.head_v_dim
        self.gate_dim = self.num_v_heads * head_dim
        self.project(hidden_size, (self.key_dim, self.key_dim, self.value_dim))
        if use_short_conv:
            self.convolve(conv_size, conv_bias)
        narrow = nn.Linear(hidden_size, self.head_v_dim, bias=False)
        self.f_proj = nn.Sequential(narrow, nn.Linear(self.head_v_dim, self.gate_dim, bias=False))
        self.b_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        rate = torch.ones(self.num_v_heads) if safe_gate else torch.empty(self.num_v_heads).uniform_(1, 16)
        self.A_log = nn.Parameter(rate.log())
        self.dt_bias = nn.Parameter(time_step_bias(self.gate_dim))
        self.A_log._no_weight_decay = self.dt_bias._no_weight_decay = True  # type: ignore[attr-defined]
        narrow = nn.Linear(hidden_size, self.head_v_dim, bias=False)
        self.g_proj = nn.Sequential(narrow, nn.Linear(self.head_v_dim, self.value_dim, bias=True))
        self.o_norm = FusedRMSNormGated(self.head_v_dim, activation="sigmoid", eps=norm_eps)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def mix(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, common: dict[str, Any], seen: int
    ) -> tuple[Tensor, Any]:
        return chunk_kda(
            heads(q, self.head_k_dim),
            heads(k, self.head_k_dim),
            heads(v, self.head_v_dim),
            heads(self.f_proj(hidden_states), self.head_k_dim),
            self.b_proj(hidden_states),
            use_qk_l2norm_in_kernel=True,
            use_gate_in_kernel=True,
            A_log=self.A_log,
            dt_bias=self.dt_bias,
            use_beta_sigmoid_in_kernel=True,
            allow_neg_eigval=self.allow_neg_eigval,
            safe_gate=self.safe_gate,
            lower_bound=self.lower_bound,
            state_v_first=True,
            **common,
        )

    def normed(self, outputs: Tensor, hidden_states: Tensor) -> Tensor:
        return self.o_norm(outputs, heads(self.g_proj(hidden_states), self.head_v_dim))
