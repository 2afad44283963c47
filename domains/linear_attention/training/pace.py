"""How fast a model with the candidate's mixer trains, beside one with the baseline's: in turns, in the same process.

CPU seconds of this process on a CPU, seconds on a GPU. A busy machine slows both; the median of the ratios of
neighbouring turns stays within a tenth of the truth there, and the penalty for cost begins at a ratio of two.
"""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.trainer import NOT_ASKED

_process_time, _perf_counter = time.process_time, time.perf_counter
_cross_entropy = nn.functional.cross_entropy


class Pace(NamedTuple):
    """`ratio`: the baseline's tokens per second over the candidate's; 2 is twice as slow."""

    ratio: float
    tokens_per_second: float
    baseline_tokens_per_second: float


def measure(
    candidate: nn.Module, baseline: nn.Module, batch: tuple[Tensor, Tensor], precisions: tuple[str, str], turns: int
) -> Pace:
    """Forward and backward on one batch, in turns; each has one turn before that does not count.

    `precisions` of the candidate and of the baseline, each fp32 or bf16: a mixer that needs bfloat16 is slow on a CPU.
    """
    seconds: list[tuple[float, float]] = []
    for turn in range(turns + 1):
        if turn % 2:  # who comes second finds warmer caches, or a hotter CPU
            base, own = _one(baseline, batch, precisions[1]), _one(candidate, batch, precisions[0])
        else:
            own, base = _one(candidate, batch, precisions[0]), _one(baseline, batch, precisions[1])
        if turn:
            seconds.append((own, base))
    tokens = batch[0].numel()
    return Pace(
        statistics.median(own / base for own, base in seconds),
        tokens / statistics.median(own for own, _ in seconds),
        tokens / statistics.median(base for _, base in seconds),
    )


def _one(model: nn.Module, batch: tuple[Tensor, Tensor], precision: str) -> float:
    tokens, targets = batch
    on_gpu = tokens.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
    begun = _perf_counter() if on_gpu else _process_time()
    with torch.autocast(tokens.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits = model(tokens)
    _cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NOT_ASKED).backward()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = (_perf_counter() if on_gpu else _process_time()) - begun
    model.zero_grad(set_to_none=True)
    return max(seconds, 1e-6)
