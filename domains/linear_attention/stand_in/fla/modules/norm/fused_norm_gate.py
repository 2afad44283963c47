"""A norm times a gate: norm(x) * swish(g) or norm(x) * sigmoid(g)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from fla.modules.norm.layernorm import normed, with_residual


def layer_norm_gated(
    x: torch.Tensor,
    g: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    activation: str = "swish",
    residual: torch.Tensor | None = None,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    eps: float = 1e-6,
    *,
    is_rms_norm: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """x, g: (..., width). Returns the gated norm in the dtype of x, with prenorm=True also x + residual."""
    total, handed_on = with_residual(x, residual, residual_in_fp32)
    outputs = normed(total, weight, bias, eps, mean=not is_rms_norm)
    gate = g.to(outputs.dtype)
    outputs = (outputs * (gate.sigmoid() if activation == "sigmoid" else functional.silu(gate))).to(x.dtype)
    return (outputs, handed_on) if prenorm else outputs


def rms_norm_gated(
    x: torch.Tensor,
    g: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    activation: str = "swish",
    residual: torch.Tensor | None = None,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    eps: float = 1e-6,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """See `layer_norm_gated`."""
    return layer_norm_gated(x, g, weight, bias, activation, residual, prenorm, residual_in_fp32, eps, is_rms_norm=True)


class FusedLayerNormGated(nn.Module):
    """A layer norm times a gate that comes with the call."""

    is_rms_norm = False

    def __init__(
        self,
        hidden_size: int,
        elementwise_affine: bool = True,
        bias: bool = False,
        activation: str = "swish",
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if activation not in ("swish", "silu", "sigmoid"):
            raise ValueError(f"Expected the activation swish, silu or sigmoid, but got {activation}.")
        self.hidden_size = hidden_size
        self.elementwise_affine = elementwise_affine
        self.eps = eps
        self.activation = activation
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
        return f"{self.hidden_size}, eps={self.eps}, activation={self.activation}"

    def forward(
        self,
        x: torch.Tensor,
        g: torch.Tensor,
        residual: torch.Tensor | None = None,
        prenorm: bool = False,
        residual_in_fp32: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        return layer_norm_gated(
            x,
            g,
            self.weight,
            self.bias,
            self.activation,
            residual,
            prenorm,
            residual_in_fp32,
            self.eps,
            is_rms_norm=self.is_rms_norm,
        )


class FusedRMSNormGated(FusedLayerNormGated):
    """A root-mean-square norm times a gate that comes with the call."""

    is_rms_norm = True

    def __init__(
        self,
        hidden_size: int,
        elementwise_affine: bool = True,
        eps: float = 1e-5,
        activation: str = "swish",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size, elementwise_affine, False, activation, eps, device, dtype)


class FusedLayerNormSwishGate(FusedLayerNormGated):
    """`FusedLayerNormGated` with the swish."""

    def __init__(
        self,
        hidden_size: int,
        elementwise_affine: bool = True,
        bias: bool = False,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size, elementwise_affine, bias, "swish", eps, device, dtype)


class FusedRMSNormSwishGate(FusedRMSNormGated):
    """`FusedRMSNormGated` with the swish."""

    def __init__(
        self,
        hidden_size: int,
        elementwise_affine: bool = True,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size, elementwise_affine, eps, "swish", device, dtype)


class FusedLayerNormGatedLinear(FusedLayerNormSwishGate):
    """A gated layer norm and the linear layer behind it, whose weight and bias come with the call."""

    def __init__(
        self,
        hidden_size: int,
        elementwise_affine: bool = True,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size, elementwise_affine, False, eps, device, dtype)

    def forward(  # type: ignore[override]
        self,
        x: torch.Tensor,
        g: torch.Tensor,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        residual: torch.Tensor | None = None,
        prenorm: bool = False,
        residual_in_fp32: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        if weight is None:
            raise ValueError("Expected the weight of the linear layer, but got None. Give it with the call.")
        outputs, handed_on = super().forward(x, g, residual, True, residual_in_fp32)
        outputs = functional.linear(outputs, weight.to(outputs.dtype), None if bias is None else bias.to(outputs.dtype))
        return (outputs, handed_on) if prenorm else outputs


class FusedRMSNormGatedLinear(FusedLayerNormGatedLinear):
    """A gated root-mean-square norm and the linear layer behind it."""

    is_rms_norm = True


class FusedLayerNormSwishGateLinear(FusedLayerNormGatedLinear):
    """`FusedLayerNormGatedLinear` under its other name."""


class FusedRMSNormSwishGateLinear(FusedRMSNormGatedLinear):
    """`FusedRMSNormGatedLinear` under its other name."""
