"""Which embedder a server uses: what its settings say, or by `auto` the best that can be had."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .minilm import MiniLM
from .openai import OpenAIEmbedder
from .weights import there

EmbedderKind = Literal["auto", "minilm", "openai", "lexical"]


@dataclass(frozen=True)
class EmbedderOptions:
    """What a human decided. For `openai`, and for `auto` with a `url`, there is a `model` as well."""

    kind: EmbedderKind = "auto"
    weights: Path | None = None
    url: str | None = None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    dimension: int | None = None
    timeout_s: float = 30.0
    max_characters: int = 8000


def make_embedder(options: EmbedderOptions) -> MiniLM | OpenAIEmbedder | None:
    """The embedder, of which nothing is loaded or asked yet; `None` is search by words alone.

    `auto` takes the endpoint where one is named, else MiniLM where there are weights. Whether they are the right ones
    shows when they are loaded.
    """
    kind = chosen_kind(options)
    if kind == "minilm":
        return MiniLM(options.weights)
    if kind == "openai":
        assert options.url is not None and options.model is not None
        return OpenAIEmbedder(
            options.url,
            options.model,
            api_key=options.api_key,
            dimension=options.dimension,
            timeout_s=options.timeout_s,
            max_characters=options.max_characters,
        )
    return None


def chosen_kind(options: EmbedderOptions) -> Literal["minilm", "openai", "lexical"]:
    """What `auto` comes to."""
    if options.kind != "auto":
        return options.kind
    if options.url is not None:
        return "openai"
    return "minilm" if there(options.weights) else "lexical"
