# ruff: noqa - as they are published, with names and types of their own
# Only d_model for the width, arguments without defaults, a step counter that anneals a gate, a second file's worth of
# modules in one, gated linear attention beside a short convolution, an auxiliary loss as a float at evaluation.
from typing import Any

import torch
from einops import rearrange
from fla.modules import FusedRMSNormSwishGate, RMSNorm, ShortConvolution
from fla.ops.gla import chunk_gla
from fla.ops.simple_gla import chunk_simple_gla
from torch import nn
from torch.nn import functional as F


class DecayHead(nn.Module):
    def __init__(self, d_model: int, num_heads: int, low_rank: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d_model, low_rank, bias=False), nn.Linear(low_rank, d_model, bias=True))
        self.num_heads = num_heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return rearrange(F.logsigmoid(self.net(x)) / 16.0, "b t (h d) -> b t h d", h=self.num_heads)


class TwoTimescaleAttention(nn.Module):
    def __init__(
        self, mode: str, d_model: int, num_heads: int, use_beta: bool, expand_k: float, layer_idx: int, **kwargs: Any
    ):
        super().__init__()
        self.num_heads = num_heads
        self.step = 0
        self.q_proj, self.k_proj, self.v_proj, self.g_proj = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))
        self.conv = ShortConvolution(hidden_size=d_model, kernel_size=4, activation="silu")
        self.decay = DecayHead(d_model, num_heads)
        self.slow = nn.Parameter(torch.full((num_heads,), 4.0))
        self.norm = FusedRMSNormSwishGate(d_model // num_heads)
        self.out_norm = RMSNorm(d_model)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: torch.Tensor, attention_mask=None, past_key_values=None, use_cache=False, **kwargs: Any):
        if self.training:
            self.step += 1
        blend = min(1.0, 0.5 + self.step / 1000)
        h, _ = self.conv(x)
        q, k, v, g = (
            rearrange(p(h), "b t (h d) -> b t h d", h=self.num_heads)
            for p in (self.q_proj, self.k_proj, self.v_proj, self.g_proj)
        )
        fast, _ = chunk_gla(q, k, v, self.decay(h))
        slow, _ = chunk_simple_gla(q, k, v, g=F.logsigmoid(self.slow).expand(*q.shape[:3]))
        o = self.norm(blend * fast + (1 - blend) * slow, g)
        o = self.o_proj(self.out_norm(rearrange(o, "b t h d -> b t (h d)")))
        return o, (1e-4 * fast.float().square().mean() if self.training else 0.0), past_key_values


mixer = TwoTimescaleAttention
