"""A gate that starts at one half: what it remembers underflows within 256 tokens, until training opens it."""

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
        gate = F.logsigmoid(self.beta(x)).repeat_interleave(x.shape[-1] // self.heads, dim=-1)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        state, outputs = torch.zeros_like(x[:, 0]), []
        for chunk, decay, key, value in zip(*(part.split(16, dim=1) for part in (q, gate, k, v)), strict=True):
            past = torch.ones(chunk.shape[1], chunk.shape[1], dtype=torch.bool).tril()[..., None]
            total = decay.cumsum(dim=1)
            pairs = (total[:, :, None] - total[:, None]).masked_fill(~past, -80.0)
            kept = (pairs.exp() * (key * value)[:, None]).sum(dim=2) + total.exp() * state[:, None]
            outputs.append(chunk * kept)
            state = kept[:, -1]
        o = self.out(torch.cat(outputs, dim=1))
        return o, None, past_key_values
