"""Older path of `fla.modules.norm.layernorm_gated`."""

from fla.modules.norm.layernorm_gated import LayerNormGated, RMSNormGated

__all__ = ["LayerNormGated", "RMSNormGated"]
