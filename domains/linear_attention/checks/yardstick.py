"""A plain mixer to measure others by where no baseline is given: causal linear attention in chunks (arXiv 2006.16236).

It is about as large and as fast as DeltaNet. It is no candidate and no reference program.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

CHUNK = 64


class Yardstick(nn.Module):
    """softplus features, four projections, a state of (head width, head width) per head."""

    def __init__(self, hidden_size: int, num_heads: int, layer_idx: int) -> None:  # noqa: ARG002
        super().__init__()
        self.heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.norm = nn.RMSNorm(hidden_size // num_heads)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) -> the same."""
        batch, length, width = x.shape
        padded = F.pad(self.qkv(x), (0, 0, 0, -length % CHUNK))
        q, k, v = padded.view(batch, -1, CHUNK, 3, self.heads, width // self.heads).permute(3, 0, 4, 1, 2, 5)
        q, k = F.softplus(q), F.softplus(k) / CHUNK
        states = k.transpose(-1, -2) @ v
        earlier = states.cumsum(2) - states
        o = (q @ k.transpose(-1, -2)).tril() @ v + q @ earlier
        o = self.norm(o).permute(0, 2, 3, 1, 4).reshape(batch, -1, width)[:, :length]
        return self.out(o)
