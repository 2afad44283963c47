"""Gated DeltaNet, as a candidate: arXiv 2412.06464.

S_t = a_t S_{t-1} (I - beta_t k_t k_t^T) + beta_t v_t k_t^T,    o_t = S_t q_t,
    a_t = exp(-A softplus(W x_t + b)) per head
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from fla.modules import RMSNorm, ShortConvolution
from fla.ops.gated_delta_rule import chunk_gated_delta_rule
from torch import nn


class GatedDeltaNet(nn.Module):
    """The delta rule with a decay per head and token, initialised as Mamba-2's."""

    def __init__(self, hidden_size: int, num_heads: int, layer_idx: int | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.qkv_conv1d = ShortConvolution(3 * hidden_size, kernel_size=4, activation="silu")
        self.b_proj = nn.Linear(hidden_size, num_heads, bias=False)
        self.a_proj = nn.Linear(hidden_size, num_heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(num_heads).uniform_(1, 16).log())
        step = torch.empty(num_heads).uniform_(-6.9, -2.3).exp()  # 0.001 to 0.1
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.o_norm = RMSNorm(hidden_size // num_heads, eps=1e-5)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask=None, past_key_values=None, **kwargs: Any):
        qkv = self.qkv_conv1d(self.qkv_proj(hidden_states))[0]
        q, k, v = rearrange(qkv, "b t (n h d) -> n b t h d", n=3, h=self.num_heads).unbind(0)
        g = -self.A_log.exp() * F.softplus(self.a_proj(hidden_states).float() + self.dt_bias)
        beta = self.b_proj(hidden_states).sigmoid()
        o, _ = chunk_gated_delta_rule(q, k, v, g, beta, use_qk_l2norm_in_kernel=True)
        return self.o_proj(rearrange(self.o_norm(o), "b t h d -> b t (h d)")), None, past_key_values


mixer = GatedDeltaNet
