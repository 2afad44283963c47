"""Mamba-2's state space duality as a mixer, as a candidate: arXiv 2405.21060.

S_t = exp(-A dt_t) S_{t-1} + dt_t k_t v_t^T,    o_t = S_t^T q_t + D v_t,    dt_t = softplus(W x_t + b), A > 0 per head
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from fla.modules import RMSNorm, ShortConvolution
from fla.ops.simple_gla import chunk_simple_gla
from torch import nn


class Mamba2(nn.Module):
    """One scalar decay per head and token; keys and queries are B and C, values x."""

    def __init__(self, hidden_size: int, num_heads: int, layer_idx: int | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.qkv_conv1d = ShortConvolution(3 * hidden_size, kernel_size=4, activation="silu")
        self.dt_proj = nn.Linear(hidden_size, num_heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(num_heads).uniform_(1, 16).log())
        step = torch.empty(num_heads).uniform_(-6.9, -2.3).exp()  # 0.001 to 0.1
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.D = nn.Parameter(torch.ones(num_heads, 1))
        self.o_norm = RMSNorm(hidden_size // num_heads, eps=1e-5)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask=None, past_key_values=None, **kwargs: Any):
        qkv = self.qkv_conv1d(self.qkv_proj(hidden_states))[0]
        q, k, v = rearrange(qkv, "b t (n h d) -> n b t h d", n=3, h=self.num_heads).unbind(0)
        dt = F.softplus(self.dt_proj(hidden_states).float() + self.dt_bias)
        o, _ = chunk_simple_gla(q, k, v * dt.unsqueeze(-1).to(v), g=-self.A_log.exp() * dt)
        o = o + self.D * v
        return self.o_proj(rearrange(self.o_norm(o), "b t h d -> b t (h d)")), None, past_key_values


mixer = Mamba2
