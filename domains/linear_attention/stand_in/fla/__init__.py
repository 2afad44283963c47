"""A torch-native package that stands in for flash-linear-attention where there is no CUDA.

The same import paths, names and keyword arguments, in our own code; what it does not have it refuses by name.
"""

from fla import _absent

__version__ = "0.6.0+torch"

_absent.install()

from fla import layers, models, modules, ops  # noqa: E402 - found by the finder above
from fla.layers import (  # noqa: E402
    DeltaNet,
    GatedDeltaNet,
    GatedLinearAttention,
    KimiDeltaAttention,
    LinearAttention,
    MultiScaleRetention,
    SimpleGatedLinearAttention,
)

__all__ = [
    "DeltaNet",
    "GatedDeltaNet",
    "GatedLinearAttention",
    "KimiDeltaAttention",
    "LinearAttention",
    "MultiScaleRetention",
    "SimpleGatedLinearAttention",
    "layers",
    "models",
    "modules",
    "ops",
]
