"""The gated MLP (arXiv 2002.05202)."""

from __future__ import annotations

# ruff: noqa: ARG002 - fused or not gives the same, and callers hand layers' keywords on
from typing import Any

import torch
from torch import nn

from fla.modules.activations import swiglu


class GatedMLP(nn.Module):
    """down(silu(gate(x)) up(x)); the inner width is 2/3 hidden_ratio hidden_size, up to a multiple of 256."""

    def __init__(
        self,
        hidden_size: int,
        hidden_ratio: int | None = None,
        intermediate_size: int | None = None,
        hidden_act: str = "swish",
        fuse_swiglu: bool = True,
        powglu_power: float = 3.0,
    ) -> None:
        super().__init__()
        if hidden_act != "swish":
            raise ValueError(f"Expected the activation swish, but got {hidden_act}. The torch stand-in has no other.")
        self.hidden_size = hidden_size
        self.hidden_ratio = 4 if hidden_ratio is None else hidden_ratio
        if intermediate_size is None:
            intermediate_size = -(-int(hidden_size * self.hidden_ratio * 2 / 3) // 256) * 256
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))
