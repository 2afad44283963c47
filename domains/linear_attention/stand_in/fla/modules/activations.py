"""Activations by the names that flash-linear-attention's kernels have."""

from __future__ import annotations

import torch
from torch.nn import functional


def swish(x: torch.Tensor) -> torch.Tensor:
    return functional.silu(x)


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    return x.sigmoid()


def elu_p1(x: torch.Tensor) -> torch.Tensor:
    """elu(x) + 1 (arXiv 2006.16236)."""
    return torch.where(x >= 0, x + 1, x.clamp_max(0).exp()).to(x.dtype)


def logsigmoid(x: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """log(sigmoid(x)) / temperature."""
    return functional.logsigmoid(x) / temperature


def sqrelu(x: torch.Tensor) -> torch.Tensor:
    """relu(x)^2 (arXiv 2109.08668)."""
    return x.relu().square()


def fast_gelu_impl(x: torch.Tensor) -> torch.Tensor:
    """gelu by its tanh approximation."""
    return functional.gelu(x, approximate="tanh")


def swiglu(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """silu(x) y (arXiv 2002.05202)."""
    return functional.silu(x) * y


def swiglu_linear(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """A linear layer over silu(x) y."""
    return functional.linear(swiglu(x, y), weight, bias)


def sigmoidglu(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """sigmoid(x) y."""
    return x.sigmoid() * y


ACT2FN = {
    "relu": functional.relu,
    "sigmoid": sigmoid,
    "logsigmoid": logsigmoid,
    "silu": swish,
    "swish": swish,
    "sqrelu": sqrelu,
    "gelu": fast_gelu_impl,
}
