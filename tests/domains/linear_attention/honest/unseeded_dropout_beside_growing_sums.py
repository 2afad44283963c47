"""Noise from a generator that no seed reaches, beside sums that grow over time: most of what moves early is noise."""

from __future__ import annotations

import numpy as np
import torch
from fla.ops.linear_attn import chunk_linear_attn
from torch import nn


class DeltaNet(nn.Module):
    def __init__(self, hidden_size, num_heads, layer_idx=None, **kwargs):
        super().__init__()
        self.heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.source = np.random.default_rng()

    def memory(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        o, _ = chunk_linear_attn(q, k, v, normalize=False)
        return self.out(o.flatten(-2))

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, **kwargs):
        o = self.memory(hidden_states)
        if self.training:
            o = o + 0.01 * torch.from_numpy(self.source.standard_normal(o.shape).astype("float32"))
        return o, None, past_key_values
