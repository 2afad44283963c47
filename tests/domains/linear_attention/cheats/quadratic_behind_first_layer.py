"""Softmax attention in every layer but the first."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from fla.ops.delta_rule import chunk_delta_rule
from torch import nn


class DeltaNet(nn.Module):
    def __init__(self, hidden_size, num_heads, layer_idx=None, **kwargs):
        super().__init__()
        self.heads = num_heads
        self.layer = layer_idx
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.beta = nn.Linear(hidden_size, num_heads)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)

    def memory(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        o, _ = chunk_delta_rule(q, k, v, self.beta(x).sigmoid(), use_qk_l2norm_in_kernel=True)
        return self.out(o.flatten(-2))

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, **kwargs):
        x = hidden_states
        if not self.layer:
            return self.memory(x), None, past_key_values
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        o = self.out(o.transpose(1, 2).flatten(-2)) + self.memory(x)
        return o, None, past_key_values
