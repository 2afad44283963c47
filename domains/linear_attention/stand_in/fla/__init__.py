"""A torch-native package that stands in for flash-linear-attention where there is no CUDA.

The same import paths, names and keyword arguments, in our own code; what it does not have it refuses by name.
"""

__version__ = "0.6.0+torch"
