"""Softmax attention, as a candidate: arXiv 1706.03762 with rotary positions, 2104.09864.

o_t = sum_{s <= t} softmax_s(q_t . k_s / sqrt(d)) v_s: quadratic in length, so the cost check has to refuse it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from fla.modules import ShortConvolution
from torch import nn


def rotate(x: torch.Tensor) -> torch.Tensor:
    """Rotary positions, (batch, heads, length, head_dim)."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 10_000.0 ** -(torch.arange(half) / half)
    cos, sin = angle.cos().to(x), angle.sin().to(x)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Attention(nn.Module):
    """Causal softmax attention."""

    def __init__(self, hidden_size: int, num_heads: int, layer_idx: int | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.qkv_conv1d = ShortConvolution(3 * hidden_size, kernel_size=4, activation="silu")
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask=None, past_key_values=None, **kwargs: Any):
        qkv = self.qkv_conv1d(self.qkv_proj(hidden_states))[0]
        q, k, v = rearrange(qkv, "b t (n h d) -> n b h t d", n=3, h=self.num_heads).unbind(0)
        o = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        return self.o_proj(rearrange(o, "b h t d -> b t (h d)")), None, past_key_values


mixer = Attention
