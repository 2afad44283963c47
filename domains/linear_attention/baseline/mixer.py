"""DeltaNet (arXiv 2102.11174, in chunks 2406.06484), in the interface of flash-linear-attention.

    S_t = S_{t-1} + beta_t (v_t - S_{t-1} k_t) k_t^T,    o_t = S_t q_t

The memory S (head_v_dim, head_k_dim) replaces what it holds under the key k_t by v_t, with the strength beta_t in
(0, 1). Keys and queries have length 1. It runs on flash-linear-attention itself, and on the layer that stands in for
it where there is no GPU.
"""

# ruff: noqa: ARG002 - arguments of the interface that this layer has no use for

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from fla.modules import RMSNorm, ShortConvolution
from fla.ops.delta_rule import chunk_delta_rule
from torch import nn


class DeltaNet(nn.Module):
    """The token mixer that the search starts from."""

    def __init__(
        self,
        *,
        hidden_size: int = 1024,
        num_heads: int = 4,
        layer_idx: int | None = None,
        mode: str = "chunk",
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        use_beta: bool = True,
        use_short_conv: bool = True,
        conv_size: int = 4,
        norm_eps: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        self.mode = mode
        self.num_heads = num_heads
        self.head_k_dim = int(hidden_size * expand_k) // num_heads
        self.head_v_dim = int(hidden_size * expand_v) // num_heads
        key_dim, value_dim = self.head_k_dim * num_heads, self.head_v_dim * num_heads

        self.q_proj = nn.Linear(hidden_size, key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, value_dim, bias=False)
        self.b_proj = nn.Linear(hidden_size, num_heads, bias=False) if use_beta else None
        self.use_short_conv = use_short_conv
        if use_short_conv:
            self.q_conv1d = ShortConvolution(key_dim, kernel_size=conv_size, activation="silu")
            self.k_conv1d = ShortConvolution(key_dim, kernel_size=conv_size, activation="silu")
            self.v_conv1d = ShortConvolution(value_dim, kernel_size=conv_size, activation="silu")
        self.o_norm = RMSNorm(self.head_v_dim, eps=norm_eps)
        self.o_proj = nn.Linear(value_dim, hidden_size, bias=False)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None, Any]:
        """(batch, length, hidden_size) -> the same; there is no auxiliary loss."""
        q, k, v = self.q_proj(hidden_states), self.k_proj(hidden_states), self.v_proj(hidden_states)
        if self.use_short_conv:
            q, k, v = self.q_conv1d(q)[0], self.k_conv1d(k)[0], self.v_conv1d(v)[0]
        else:
            q, k, v = nn.functional.silu(q), nn.functional.silu(k), nn.functional.silu(v)
        q, k, v = (rearrange(x, "b t (h d) -> b t h d", h=self.num_heads) for x in (q, k, v))
        beta = torch.ones_like(q[..., 0]) if self.b_proj is None else self.b_proj(hidden_states).sigmoid()
        o, _ = chunk_delta_rule(q, k, v, beta, use_qk_l2norm_in_kernel=True)
        o = self.o_proj(rearrange(self.o_norm(o), "b t h d -> b t (h d)"))
        return o, None, past_key_values
