"""Feature maps of linear attention."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional


def flatten_diag_outer_product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Products x_i y_j with i <= j: (..., n (n + 1) / 2)."""
    rows, columns = torch.triu_indices(x.shape[-1], y.shape[-1], device=x.device)
    return x[..., rows] * y[..., columns]


def flatten_diag_outer_product_off1(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Products x_i y_j with i < j, (..., n (n - 1) / 2), and x_i y_i, (..., n)."""
    rows, columns = torch.triu_indices(x.shape[-1], y.shape[-1], 1, device=x.device)
    return x[..., rows] * y[..., columns], x * y


class HedgehogFeatureMap(nn.Module):
    """softmax of (y, -y) for a learned linear y (arXiv 2402.04347); starts at y = 2 x."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(head_dim, head_dim)
        nn.init.eye_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = 2 * self.layer(x)
        return torch.cat([y, -y], -1).softmax(-1)


class T2RFeatureMap(nn.Module):
    """relu of a learned linear map (arXiv 2103.13076)."""

    def __init__(self, head_dim: int, dot_dim: int | None = None, bias: bool | None = False) -> None:
        super().__init__()
        self.layer = nn.Linear(head_dim, head_dim if dot_dim is None else dot_dim, bias=bool(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).relu()


class DPFPFeatureMap(nn.Module):
    """Products of relu(x, -x) with itself shifted by 1 to nu (arXiv 2102.11174)."""

    def __init__(self, head_dim: int, nu: int = 4) -> None:  # noqa: ARG002 - the width does not matter
        super().__init__()
        self.nu = nu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([x, -x], -1).relu()
        return torch.cat([x * x.roll(shift, -1) for shift in range(1, self.nu + 1)], -1)


class HadamardFeatureMap(nn.Module):
    """The product of two learned linear maps, element by element."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.layer1 = nn.Linear(head_dim, head_dim)
        self.layer2 = nn.Linear(head_dim, head_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer1(x) * self.layer2(x)


class LearnableOuterProductFeatureMap(nn.Module):
    """Products of two learned linear maps, each with each."""

    def __init__(self, head_dim: int, feature_dim: int) -> None:
        super().__init__()
        self.layer1 = nn.Linear(head_dim, feature_dim, bias=False)
        self.layer2 = nn.Linear(head_dim, feature_dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return flatten_diag_outer_product(self.layer1(x), self.layer2(x))


class TaylorFeatureMap(nn.Module):
    """The second-order Taylor expansion of exp(<q, k> / sqrt(K)) (Based, arXiv 2402.18668)."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        root = math.sqrt(self.head_dim)
        off, diagonal = flatten_diag_outer_product_off1(x, x)
        return torch.cat([torch.ones_like(x[..., :1]), x / math.sqrt(root), diagonal / (root * 2**0.5), off / root], -1)


class RebasedFeatureMap(nn.Module):
    """The squares of a learned affine map (ReBased, arXiv 2402.10644)."""

    def __init__(
        self,
        head_dim: int,
        use_gamma: bool | None = True,
        use_beta: bool | None = True,
        normalize: bool | None = True,
    ) -> None:
        super().__init__()
        if not (use_gamma or normalize):
            raise ValueError("Expected use_gamma or normalize, but got neither. Turn one on.")
        self.head_dim = head_dim
        self.normalize = normalize
        self.gamma = nn.Parameter(torch.ones(head_dim)) if use_gamma else None
        self.beta = nn.Parameter(torch.zeros(head_dim)) if use_beta else None

    def forward(self, x: torch.Tensor, flatten: bool | None = True) -> torch.Tensor:
        if self.normalize:
            x = functional.layer_norm(x, (self.head_dim,), self.gamma, self.beta)
        else:
            assert self.gamma is not None
            x = x * self.gamma if self.beta is None else x * self.gamma + self.beta
        if not flatten:
            return x
        off, diagonal = flatten_diag_outer_product_off1(x, x)
        return torch.cat([diagonal * self.head_dim**-0.5, off * (2 / self.head_dim) ** 0.5], -1)


class ReLUFeatureMap(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu()


class SquaredReLUFeatureMap(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu().square()


class GELUFeatureMap(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.gelu(x)


class SwishFeatureMap(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.silu(x)


class SigmoidFeatureMap(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sigmoid()
