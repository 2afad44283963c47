"""A causal language model of a few thousand parameters with all that a mixer may bring: dropout, an auxiliary loss, a
parameter that nothing uses. For tests of what trains and asks models."""

import torch
from torch import nn


class SmallModel(nn.Module):
    """Logits from the running mean of embeddings; what comes later is never seen."""

    def __init__(self, vocabulary=17, width=24, *, dropout=0.0, auxiliary=0.0, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(vocabulary, width)
        self.mixed = nn.Linear(2 * width, width)
        self.norm = nn.RMSNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.unused = nn.Parameter(torch.zeros(3))
        self.weight = auxiliary
        self._auxiliary = None

    def forward(self, tokens):
        x = self.embedding(tokens)
        past = x.cumsum(1) / torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        x = self.norm(torch.tanh(self.mixed(torch.cat([x, past], -1))))
        self._auxiliary = self.weight * x.square().mean() if self.weight else None
        return self.head(self.dropout(x))

    def auxiliary_loss(self):
        return self._auxiliary


def sometimes_asked(step, rows=8, length=12, vocabulary=17):
    """Rows of one batch, of which later ones ask more; the target is the token before."""
    draw = torch.Generator().manual_seed(step)
    tokens = torch.randint(vocabulary, (rows, length), generator=draw)
    targets = tokens.roll(1, dims=1)
    asked = torch.arange(length) >= (length - 1 - torch.arange(rows)[:, None]).clamp(min=1)
    return tokens, targets.where(asked, -100)
