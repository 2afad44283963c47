"""Linear attention, as a candidate: arXiv 2006.16236, without the normaliser as in 2210.10340.

S_t = S_{t-1} + phi(k_t) v_t^T,    o_t = S_t^T phi(q_t),    phi(x) = elu(x) + 1
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from fla.modules import RMSNorm, ShortConvolution
from fla.ops.simple_gla import chunk_simple_gla
from torch import nn


class LinearAttention(nn.Module):
    """A sum of outer products: nothing is ever forgotten or replaced."""

    def __init__(self, hidden_size: int, num_heads: int, layer_idx: int | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.qkv_conv1d = ShortConvolution(3 * hidden_size, kernel_size=4, activation="silu")
        self.o_norm = RMSNorm(hidden_size // num_heads, eps=1e-5)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask=None, past_key_values=None, **kwargs: Any):
        qkv = self.qkv_conv1d(self.qkv_proj(hidden_states))[0]
        q, k, v = rearrange(qkv, "b t (n h d) -> n b t h d", n=3, h=self.num_heads).unbind(0)
        o, _ = chunk_simple_gla(F.elu(q) + 1, F.elu(k) + 1, v)
        return self.o_proj(rearrange(self.o_norm(o), "b t h d -> b t (h d)")), None, past_key_values


mixer = LinearAttention
