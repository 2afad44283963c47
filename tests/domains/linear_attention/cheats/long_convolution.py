"""A direct convolution with as many taps as there are tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from fla.ops.delta_rule import chunk_delta_rule
from torch import nn


class DeltaNet(nn.Module):
    def __init__(self, hidden_size, num_heads, layer_idx=None, **kwargs):
        super().__init__()
        self.heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.beta = nn.Linear(hidden_size, num_heads)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)

    def memory(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        o, _ = chunk_delta_rule(q, k, v, self.beta(x).sigmoid(), use_qk_l2norm_in_kernel=True)
        return self.out(o.flatten(-2))

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, **kwargs):
        x = hidden_states
        length = x.shape[1]
        kernel = torch.exp(-torch.arange(length) / 100).flip(0).expand(x.shape[-1], 1, length)
        padded = F.pad(x.transpose(1, 2), (length - 1, 0))
        o = self.memory(x) + F.conv1d(padded, kernel, groups=x.shape[-1]).transpose(1, 2) / 100
        return o, None, past_key_values
