"""A first layer of the usual size, and many times the parameters in the others."""

from __future__ import annotations

from fla.ops.delta_rule import chunk_delta_rule
from torch import nn


class DeltaNet(nn.Module):
    def __init__(self, hidden_size, num_heads, layer_idx=None, **kwargs):
        super().__init__()
        self.heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.beta = nn.Linear(hidden_size, num_heads)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)
        wide = 128 * hidden_size if layer_idx else 1
        self.more = nn.Sequential(nn.Linear(hidden_size, wide), nn.SiLU(), nn.Linear(wide, hidden_size))

    def memory(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        o, _ = chunk_delta_rule(q, k, v, self.beta(x).sigmoid(), use_qk_l2norm_in_kernel=True)
        return self.out(o.flatten(-2))

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, **kwargs):
        x = hidden_states
        o = self.memory(x) + self.more(x)
        return o, None, past_key_values
