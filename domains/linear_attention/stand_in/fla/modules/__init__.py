"""Parts of layers."""

from fla.modules.causal_conv1d import ShortConvolution
from fla.modules.mlp import GatedMLP
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
from fla.modules.rotary import RotaryEmbedding

__all__ = [
    "FusedLayerNormGated",
    "FusedLayerNormSwishGate",
    "FusedLayerNormSwishGateLinear",
    "FusedRMSNormGated",
    "FusedRMSNormSwishGate",
    "FusedRMSNormSwishGateLinear",
    "GatedMLP",
    "GroupNorm",
    "GroupNormLinear",
    "L2Norm",
    "LayerNorm",
    "LayerNormLinear",
    "RMSNorm",
    "RMSNormLinear",
    "RotaryEmbedding",
    "ShortConvolution",
]
