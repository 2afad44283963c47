"""No mixer: what the skeleton reaches by its short convolutions alone.

As a candidate it is refused, since its memory is dead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class NoMixer(nn.Module):
    """What comes in goes out: that is the skeleton's short convolution."""

    def __init__(self, hidden_size: int, num_heads: int, layer_idx: int | None = None, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, hidden_states: torch.Tensor, attention_mask=None, past_key_values=None, **kwargs: Any):
        return hidden_states, None, past_key_values


mixer = NoMixer
