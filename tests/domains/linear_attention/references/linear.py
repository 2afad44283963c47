"""Linear attention as it was first published, as a candidate: arXiv 2006.16236.

    S_t = S_{t-1} + phi(k_t) v_t^T,    z_t = z_{t-1} + phi(k_t),    o_t = S_t^T phi(q_t) / (z_t . phi(q_t)),
    phi(x) = elu(x) + 1
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from fla.ops.simple_gla import chunk_simple_gla
from torch import nn


class LinearAttention(nn.Module):
    """A sum of outer products: nothing is ever forgotten or replaced."""

    def __init__(self, hidden_size: int, num_heads: int, layer_idx: int | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask=None, past_key_values=None, **kwargs: Any):
        q, k, v = rearrange(self.qkv_proj(hidden_states), "b t (n h d) -> n b t h d", n=3, h=self.num_heads).unbind(0)
        # A column of ones beside the values sums up the keys: the normaliser.
        v = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
        o, _ = chunk_simple_gla(F.elu(q) + 1, F.elu(k) + 1, v, scale=1.0)
        o = o[..., :-1] / o[..., -1:]
        return self.o_proj(rearrange(o, "b t h d -> b t (h d)")), None, past_key_values


mixer = LinearAttention
