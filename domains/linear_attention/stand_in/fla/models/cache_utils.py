"""The state that layers hand on between calls, one dictionary a layer; no part of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

NAMES = ("recurrent_state", "attn_state", "conv_state", "ffn_state")


class Cache:
    """States by layer: `cache[layer_idx]["recurrent_state"]`, and attn_state, conv_state and ffn_state."""

    def __init__(self, seen_tokens: int = 0, **kwargs: Any) -> None:
        for name in kwargs:
            raise TypeError(f"Expected `seen_tokens` only, but got `{name}`. The torch stand-in's Cache has no more.")
        self.states: list[dict[str, Any]] = []
        self._seen: list[int] = []
        self._seen_tokens = int(seen_tokens)

    def update(
        self,
        recurrent_state: Any | None = None,
        attn_state: tuple[torch.Tensor, ...] | None = None,
        conv_state: Any | None = None,
        ffn_state: Any | None = None,
        layer_idx: int = 0,
        offset: int | None = 1,
        cache_kwargs: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Replaces the states that are given, adds to attn_state, and counts `offset` tokens as seen."""
        while len(self.states) <= layer_idx:
            self.states.append(dict.fromkeys(NAMES))
            self._seen.append(self._seen_tokens)
        state = self.states[layer_idx]
        for name, value in zip(NAMES, (recurrent_state, None, conv_state, ffn_state), strict=True):
            if value is not None:
                state[name] = value
        if attn_state is not None:
            offset = attn_state[0].shape[1]
            state["attn_state"] = _appended(state["attn_state"], attn_state, (cache_kwargs or {}).get("window_size"))
        self._seen[layer_idx] += 1 if offset is None else offset
        return state

    def __getitem__(self, layer_idx: int) -> dict[str, Any]:
        if layer_idx >= len(self.states):
            raise KeyError(f"Expected one of {len(self.states)} layers, but got {layer_idx}.")
        return self.states[layer_idx]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)

    def get_seq_length(self, layer_idx: int | None = 0, cache_position: Any = None) -> int:  # noqa: ARG002
        """Tokens that the layer has seen."""
        return self._seen[layer_idx or 0] if len(self._seen) > (layer_idx or 0) else 0

    def get_max_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - all have the same
        """-1: there is no end."""
        return -1

    get_max_cache_shape = get_max_length

    def reset(self) -> None:
        """As if nothing had been seen."""
        self.states, self._seen, self._seen_tokens = [], [], 0

    def to_legacy_cache(self) -> tuple[dict[str, Any], ...]:
        return tuple(self.states)

    @classmethod
    def from_legacy_cache(
        cls, past_key_values: tuple[dict[str, Any], ...] | Cache | None = None, seen_tokens: int = 0
    ) -> Cache:
        """A cache from what `to_legacy_cache` gave, after `seen_tokens` tokens."""
        if isinstance(past_key_values, cls):
            return past_key_values
        cache = cls(seen_tokens)
        cache.states = [{**dict.fromkeys(NAMES), **state} for state in past_key_values or ()]
        cache._seen = [int(seen_tokens)] * len(cache.states)
        return cache


def _appended(
    earlier: tuple[torch.Tensor, ...] | None, new: tuple[torch.Tensor, ...], window: int | None
) -> tuple[torch.Tensor, ...]:
    """Keys and values (batch, length, ...) behind the earlier ones, the last `window` of them."""
    joined = new if earlier is None else tuple(torch.cat(pair, 1) for pair in zip(earlier, new, strict=True))
    return tuple(joined) if window is None else tuple(x[:, -window:] for x in joined)


FLACache = Cache
LegacyFLACache = Cache
