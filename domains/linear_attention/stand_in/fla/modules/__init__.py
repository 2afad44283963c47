"""Parts of layers."""

from fla.modules.causal_conv1d import ShortConvolution
from fla.modules.norm import (
    FusedLayerNormGated,
    FusedLayerNormSwishGate,
    FusedLayerNormSwishGateLinear,
    FusedRMSNormGated,
    FusedRMSNormSwishGate,
    FusedRMSNormSwishGateLinear,
    GroupNorm,
    GroupNormLinear,
    L2Norm,
    LayerNorm,
    LayerNormLinear,
    RMSNorm,
    RMSNormLinear,
)

__all__ = [
    "FusedLayerNormGated",
    "FusedLayerNormSwishGate",
    "FusedLayerNormSwishGateLinear",
    "FusedRMSNormGated",
    "FusedRMSNormSwishGate",
    "FusedRMSNormSwishGateLinear",
    "GroupNorm",
    "GroupNormLinear",
    "L2Norm",
    "LayerNorm",
    "LayerNormLinear",
    "RMSNorm",
    "RMSNormLinear",
    "ShortConvolution",
]
