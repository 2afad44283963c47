"""Norms as in Mamba2: in groups, with a gate z before or after."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from fla.modules.norm.layernorm import normed


class LayerNormGated(nn.Module):
    """norm(x) * silu(z), or norm(x * silu(z)) with norm_before_gate=False. group_size: width of a group."""

    is_rms_norm = False

    def __init__(
        self,
        hidden_size: int,
        eps: float = 1e-5,
        group_size: int | None = None,
        norm_before_gate: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.groups = 1 if group_size is None else hidden_size // group_size
        self.norm_before_gate = norm_before_gate
        self.weight = nn.Parameter(torch.ones(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", None)
        if not self.is_rms_norm:
            self.bias = nn.Parameter(torch.zeros(hidden_size, device=device, dtype=dtype))

    def forward(self, x: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        gate = None if z is None else functional.silu(z.to(wide.dtype))
        if gate is not None and not self.norm_before_gate:
            wide = wide * gate
        wide = normed(wide, self.weight, self.bias, self.eps, mean=not self.is_rms_norm, groups=self.groups)
        if gate is not None and self.norm_before_gate:
            wide = wide * gate
        return wide.to(x.dtype)


class RMSNormGated(LayerNormGated):
    """As `LayerNormGated` without mean and bias; the gate comes first unless said otherwise."""

    is_rms_norm = True

    def __init__(
        self,
        hidden_size: int,
        eps: float = 1e-5,
        group_size: int | None = None,
        norm_before_gate: bool = False,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size, eps, group_size, norm_before_gate, device, dtype)
