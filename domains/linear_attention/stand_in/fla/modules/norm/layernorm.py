"""Layer, root-mean-square and group norm, with the residual handling of flash-linear-attention's."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def normed(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
    *,
    mean: bool,
    groups: int = 1,
) -> torch.Tensor:
    """The last dimension, or each group of it, to mean 0 (if `mean`) and mean square 1; in float32 at least."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if groups > 1:
        x = x.unflatten(-1, (groups, -1))
    if mean:
        x = x - x.mean(-1, keepdim=True)
    x = x * (x.square().mean(-1, keepdim=True) + eps).rsqrt()
    if groups > 1:
        x = x.flatten(-2)
    if weight is not None:
        x = x * weight.to(x.dtype)
    return x if bias is None else x + bias.to(x.dtype)


def with_residual(
    x: torch.Tensor, residual: torch.Tensor | None, residual_in_fp32: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is normed, and what a prenorm block hands on as its residual."""
    if residual is None:
        return x, x.float() if residual_in_fp32 and x.dtype != torch.float64 else x
    total = x.to(torch.promote_types(x.dtype, torch.float32)) + residual
    return total, total.to(residual.dtype)


def group_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None = None,
    eps: float = 1e-5,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    is_rms_norm: bool = False,
    num_groups: int = 1,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Returns the normed tensor in the dtype of x, with prenorm=True also the sum of x and residual."""
    total, handed_on = with_residual(x, residual, residual_in_fp32)
    outputs = normed(total, weight, bias, eps, mean=not is_rms_norm, groups=num_groups).to(x.dtype)
    return (outputs, handed_on) if prenorm else outputs


def layer_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None = None,
    eps: float = 1e-5,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    is_rms_norm: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """See `group_norm`."""
    return group_norm(x, weight, bias, residual, eps, prenorm, residual_in_fp32, is_rms_norm)


def rms_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None = None,
    eps: float = 1e-5,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """See `group_norm`."""
    return group_norm(x, weight, bias, residual, eps, prenorm, residual_in_fp32, True)


class GroupNorm(nn.Module):
    """Group norm over the last dimension; the other norms here are its cases."""

    def __init__(
        self,
        num_groups: int,
        hidden_size: int,
        elementwise_affine: bool = True,
        bias: bool = False,
        eps: float = 1e-5,
        is_rms_norm: bool = False,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if hidden_size % num_groups:
            raise ValueError(f"Expected hidden_size to be a multiple of {num_groups} groups, but got {hidden_size}.")
        self.num_groups = num_groups
        self.hidden_size = hidden_size
        self.elementwise_affine = elementwise_affine
        self.eps = eps
        self.is_rms_norm = is_rms_norm
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)
        if elementwise_affine:
            self.weight = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
            if bias:
                self.bias = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return f"{self.hidden_size}, elementwise_affine={self.elementwise_affine}, eps={self.eps}"

    def forward(
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None = None,
        prenorm: bool = False,
        residual_in_fp32: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        return group_norm(
            x,
            self.weight,
            self.bias,
            residual,
            self.eps,
            prenorm,
            residual_in_fp32,
            self.is_rms_norm,
            self.num_groups,
        )


class LayerNorm(GroupNorm):
    """Layer norm."""

    def __init__(
        self,
        hidden_size: int,
        elementwise_affine: bool = True,
        bias: bool = False,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(1, hidden_size, elementwise_affine, bias, eps, False, device, dtype)


class RMSNorm(GroupNorm):
    """Root-mean-square norm (arXiv 1910.07467)."""

    def __init__(
        self,
        hidden_size: int,
        elementwise_affine: bool = True,
        bias: bool = False,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(1, hidden_size, elementwise_affine, bias, eps, True, device, dtype)


class GroupNormLinear(GroupNorm):
    """A group norm and the linear layer behind it, whose weight and bias come with the call."""

    def forward(  # type: ignore[override]
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        residual: torch.Tensor | None = None,
        prenorm: bool = False,
        residual_in_fp32: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        outputs, handed_on = super().forward(x, residual, True, residual_in_fp32)
        outputs = functional.linear(outputs, weight.to(outputs.dtype), None if bias is None else bias.to(outputs.dtype))
        return (outputs, handed_on) if prenorm else outputs


class LayerNormLinear(GroupNormLinear):
    """A layer norm and the linear layer behind it."""

    def __init__(
        self,
        hidden_size: int,
        elementwise_affine: bool = True,
        bias: bool = False,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(1, hidden_size, elementwise_affine, bias, eps, False, device, dtype)


class RMSNormLinear(GroupNormLinear):
    """A root-mean-square norm and the linear layer behind it."""

    def __init__(
        self,
        hidden_size: int,
        elementwise_affine: bool = True,
        bias: bool = False,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(1, hidden_size, elementwise_affine, bias, eps, True, device, dtype)
