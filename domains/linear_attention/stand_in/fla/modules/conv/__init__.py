"""Older path of `fla.modules.causal_conv1d`."""

from fla.modules.causal_conv1d import ShortConvolution, causal_conv1d, causal_conv1d_update

__all__ = ["ShortConvolution", "causal_conv1d", "causal_conv1d_update"]
