"""The cache, under the path that layers import it from."""

from fla.models.cache_utils import Cache, FLACache, LegacyFLACache

__all__ = ["Cache", "FLACache", "LegacyFLACache"]
