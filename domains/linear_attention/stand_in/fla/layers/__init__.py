"""Layers, with the constructors and the call of flash-linear-attention's."""

from fla.layers.delta_net import DeltaNet
from fla.layers.gated_deltanet import GatedDeltaNet
from fla.layers.gla import GatedLinearAttention
from fla.layers.kda import KimiDeltaAttention
from fla.layers.linear_attn import LinearAttention
from fla.layers.multiscale_retention import MultiScaleRetention
from fla.layers.simple_gla import SimpleGatedLinearAttention

__all__ = [
    "DeltaNet",
    "GatedDeltaNet",
    "GatedLinearAttention",
    "KimiDeltaAttention",
    "LinearAttention",
    "MultiScaleRetention",
    "SimpleGatedLinearAttention",
]
