"""Vectors of length 1 (older path of `fla.modules.norm.l2norm`)."""

from fla.modules.norm.l2norm import L2Norm, l2_norm, l2norm

__all__ = ["L2Norm", "l2_norm", "l2norm"]
