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
    count = len(prompts) * samples
    chances = torch.rand(ANSWER_LIMIT, count, generator=generator) if generator is not None else None
    answers = Answers(torch.full((count, ANSWER_LIMIT), END), *(torch.zeros(count, ANSWER_LIMIT) for _ in range(3)))
    logits, cache = model(prompts)
    logits, cache = logits.repeat_interleave(samples, 0), repeated(cache, samples)
    rows = torch.arange(count)  # those that go on
    for place in range(ANSWER_LIMIT):
        logps = logits[:, -1].log_softmax(-1)
        chosen = logps.argmax(-1) if chances is None else _drawn(logps, chances[place, rows])
        answers.tokens[rows, place] = chosen
        answers.mask[rows, place] = 1.0
        answers.logp[rows, place] = logps.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
        answers.entropy[rows, place] = -(logps.exp() * logps).sum(-1)
        going = (chosen != END).nonzero().squeeze(1)
        if not len(going) or place + 1 == ANSWER_LIMIT:
            break
        rows, chosen = rows[going], chosen[going]
        cache = [(key.index_select(0, going), value.index_select(0, going)) for key, value in cache]
        logits, cache = model(chosen.unsqueeze(-1), cache)
    return answers


def _drawn(logps: Tensor, chance: Tensor) -> Tensor:
    """One token a row, by the inverse of the cumulated probabilities. One number a token is used up, whatever the
    distribution, so that two models that agree draw the same."""
    cumulated = logps.exp().cumsum(-1)
    below = cumulated[:, :-1] <= (chance * cumulated[:, -1]).unsqueeze(-1)
    return below.sum(-1)
