"""Gated linear attention, as a candidate: arXiv 2312.06635.

S_t = diag(a_t) S_{t-1} + k_t v_t^T,    o_t = S_t^T q_t,
    a_t = sigmoid(W_2 W_1 x_t + b)^(1/16) per channel of the keys
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from fla.modules import RMSNorm, ShortConvolution
from fla.ops.gla import chunk_gla
from torch import nn


class GatedLinearAttention(nn.Module):
    """Linear attention with a decay per channel of the keys, from a map of low rank."""

    def __init__(self, hidden_size: int, num_heads: int, layer_idx: int | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.qkv_conv1d = ShortConvolution(3 * hidden_size, kernel_size=4, activation="silu")
        self.gk_proj = nn.Sequential(nn.Linear(hidden_size, 16, bias=False), nn.Linear(16, hidden_size))
        self.o_norm = RMSNorm(hidden_size // num_heads, eps=1e-5)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask=None, past_key_values=None, **kwargs: Any):
        qkv = self.qkv_conv1d(self.qkv_proj(hidden_states))[0]
        q, k, v = rearrange(qkv, "b t (n h d) -> n b t h d", n=3, h=self.num_heads).unbind(0)
        g = F.logsigmoid(self.gk_proj(hidden_states).float()) / 16
        o, _ = chunk_gla(q, k, v, rearrange(g, "b t (h d) -> b t h d", h=self.num_heads))
        return self.o_proj(rearrange(self.o_norm(o), "b t h d -> b t (h d)")), None, past_key_values


mixer = GatedLinearAttention
