"""One token at a time in Python. Flagged, not refused: it is slow and honest."""

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

    def memory(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        o, _ = chunk_delta_rule(q, k, v, self.beta(x).sigmoid(), use_qk_l2norm_in_kernel=True)
        return self.out(o.flatten(-2))

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, **kwargs):
        x = hidden_states
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        k = torch.softmax(k, dim=-1)
        beta = self.beta(x).sigmoid().mean(dim=-1, keepdim=True)
        state = torch.zeros_like(x[:, 0, :, None] * x[:, 0, None, :])
        outputs = []
        for a, b, c, d in zip(q.unbind(1), k.unbind(1), v.unbind(1), beta.unbind(1), strict=True):
            state = state + (d * b).unsqueeze(-1) * (c - (b.unsqueeze(1) @ state).squeeze(1)).unsqueeze(1)
            outputs.append((a.unsqueeze(1) @ state).squeeze(1))
        o = self.out(torch.stack(outputs, dim=1))
        return o, None, past_key_values
