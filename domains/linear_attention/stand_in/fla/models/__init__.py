"""Of flash-linear-attention's models only the cache: the models are transformers' and need it."""

from fla.models.utils import Cache

__all__ = ["Cache"]
