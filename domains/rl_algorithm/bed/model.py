"""A decoder with 57,552 parameters: two layers of width 48, learned positions, normalisation before each part
(arXiv 2002.04745) and without weights, ReLU, keys and values kept from call to call.

It is no small copy of any published model; it is the least that learns the tasks in seconds on one CPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from bed.tasks import ALPHABET, ANSWER_LIMIT, PROMPT_WIDTH

WIDTH = 48
LAYERS = 2
HEADS = 4
LENGTH = PROMPT_WIDTH + ANSWER_LIMIT

Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (batch, heads, length, width / heads)."""


def normalised(hidden: Tensor) -> Tensor:
    """Each vector with mean 0 and variance 1."""
    return functional.layer_norm(hidden, (hidden.shape[-1],))


def causal(length: int, past: int) -> Tensor:
    """(length, past + length): which of all positions each of the last `length` sees."""
    return torch.ones(length, past + length, dtype=torch.bool).tril(past)


class Attention(nn.Module):
    """Causal, with several heads."""

    def __init__(self) -> None:
        super().__init__()
        self.project_in = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.project_out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, hidden: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(batch, length, width) -> the same, and the keys and values of everything so far."""
        batch, length, _ = hidden.shape
        query, key, value = self.project_in(hidden).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        if past is not None:
            key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
        seen = causal(length, key.shape[2] - length) if length > 1 else None
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self.project_out(mixed.transpose(1, 2).reshape(batch, length, WIDTH)), (key, value)


class Block(nn.Module):
    """Attention, then two linear layers with ReLU between."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.widen = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, hidden: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As Attention."""
        mixed, present = self.attention(normalised(hidden), past)
        hidden = hidden + mixed
        return hidden + self.narrow(functional.relu(self.widen(normalised(hidden)))), present


class Decoder(nn.Module):
    """Tokens to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(len(ALPHABET), WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, len(ALPHABET), bias=False)

    def forward(self, tokens: Tensor, past: Cache | None = None) -> tuple[Tensor, Cache]:
        """(batch, length) int64 -> logits (batch, length, characters), and the cache to go on from."""
        start = past[0][0].shape[2] if past is not None else 0
        hidden = self.characters(tokens) + self.positions.weight[start : start + tokens.shape[1]]
        cache: Cache = []
        for index, block in enumerate(self.blocks):
            hidden, present = block(hidden, past[index] if past is not None else None)
            cache.append(present)
        return self.head(normalised(hidden)), cache


def repeated(cache: Cache, times: int) -> Cache:
    """Each row of the batch `times` times, side by side."""
    return [(key.repeat_interleave(times, 0), value.repeat_interleave(times, 0)) for key, value in cache]


def answer_logits(model: Decoder, prompts: Tensor, answers: Tensor) -> Tensor:
    """Logits for each token of the answers, (B, T, characters).

    `prompts` (P, PROMPT_WIDTH), `answers` (B, T) with those to one prompt side by side; a prompt is computed once for
    all its answers.
    """
    samples = len(answers) // len(prompts)
    first, cache = model(prompts)
    first = first[:, -1:].repeat_interleave(samples, 0)
    if answers.shape[1] == 1:
        return first
    rest, _ = model(answers[:, :-1], repeated(cache, samples))
    return torch.cat((first, rest), dim=1)


def load(path: Path) -> Decoder:
    """A model with the weights of an .npz."""
    model = Decoder()
    with np.load(path, allow_pickle=False) as stored:
        model.load_state_dict({name: torch.from_numpy(stored[name].copy()) for name in model.state_dict()})
    return model
