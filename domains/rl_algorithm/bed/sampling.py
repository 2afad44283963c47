"""Answers of a model, sampled or greedy, with what is known of each token when it was drawn."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bed.model import Decoder, repeated
from bed.tasks import ANSWER_LIMIT, END


class Answers(NamedTuple):
    """B answers of at most T tokens; whatever comes after the end is END in `tokens` and zero in the others."""

    tokens: Tensor
    """(B, T) int64."""
    mask: Tensor
    """(B, T) float32: 1 up to the end, which is counted."""
    logp: Tensor
    """(B, T), of the tokens, at temperature 1."""
    entropy: Tensor
    """(B, T), of the distributions they were drawn from, nats."""

    @property
    def lengths(self) -> Tensor:
        """(B,) int64."""
        return self.mask.sum(dim=1).long()


@torch.no_grad()
def answer(model: Decoder, prompts: Tensor, samples: int = 1, generator: torch.Generator | None = None) -> Answers:
    """`samples` answers to each prompt (P, PROMPT_WIDTH), those to one prompt side by side; greedy without a
    generator."""
    logits, cache = model(prompts)
    logits, cache = logits[:, -1].repeat_interleave(samples, 0), repeated(cache, samples)
    count = len(logits)
    chances = torch.rand(ANSWER_LIMIT, count, generator=generator) if generator is not None else None
    running = torch.ones(count)
    columns: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for place in range(ANSWER_LIMIT):
        logps = logits.log_softmax(-1)
        chosen = logps.argmax(-1) if chances is None else _drawn(logps, chances[place])
        chosen = torch.where(running > 0, chosen, END)
        logp = logps.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
        entropy = -(logps.exp() * logps).sum(-1)
        columns.append((chosen, running, logp * running, entropy * running))
        running = running * (chosen != END)
        if place + 1 < ANSWER_LIMIT:
            logits, cache = model(chosen.unsqueeze(-1), cache)
            logits = logits[:, -1]
    return Answers(*(torch.stack(column, dim=1) for column in zip(*columns, strict=True)))


def _drawn(logps: Tensor, chance: Tensor) -> Tensor:
    """One token a row, by the inverse of the cumulated probabilities. One number a token is used up, whatever the
    distribution, so that two models that agree draw the same."""
    cumulated = logps.exp().cumsum(-1)
    below = cumulated[:, :-1] <= (chance * cumulated[:, -1]).unsqueeze(-1)
    return below.sum(-1)
