"""Older path of `fla.modules.norm.layernorm`."""

from fla.modules.norm.layernorm import (
    GroupNorm,
    GroupNormLinear,
    LayerNorm,
    LayerNormLinear,
    RMSNorm,
    RMSNormLinear,
    group_norm,
    layer_norm,
    rms_norm,
)

__all__ = [
    "GroupNorm",
    "GroupNormLinear",
    "LayerNorm",
    "LayerNormLinear",
    "RMSNorm",
    "RMSNormLinear",
    "group_norm",
    "layer_norm",
    "rms_norm",
]
