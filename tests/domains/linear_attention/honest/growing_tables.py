"""Keeps tables of positions that grow with the longest input, and how long they are, as rotary embeddings do."""

from __future__ import annotations

import torch
from fla.ops.delta_rule import chunk_delta_rule
from torch import nn


class DeltaNet(nn.Module):
    def __init__(self, hidden_size, num_heads, layer_idx=None, **kwargs):
        super().__init__()
        self.heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.beta = nn.Linear(hidden_size, num_heads)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.seq_len_cached = 0
        self.sin_cached = None
        self.longest = 16
        self.register_buffer("decay", 0.99 ** torch.arange(16)[:, None], persistent=False)

    def memory(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        o, _ = chunk_delta_rule(q, k, v, self.beta(x).sigmoid(), use_qk_l2norm_in_kernel=True)
        return self.out(o.flatten(-2))

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, **kwargs):
        x = hidden_states
        length = x.shape[1]
        if length > self.seq_len_cached:
            self.seq_len_cached = length
            self.sin_cached = torch.sin(torch.arange(length)[:, None] / torch.arange(1, x.shape[-1] + 1))
        if length > self.longest:
            self.longest = length
            self.register_buffer("decay", 0.99 ** torch.arange(length)[:, None], persistent=False)
        if not hasattr(self, "gains"):
            self.register_buffer("gains", torch.ones(x.shape[-1]))
        o = self.memory((x + self.sin_cached[:length]) * self.decay[:length] * self.gains)
        return o, None, past_key_values
