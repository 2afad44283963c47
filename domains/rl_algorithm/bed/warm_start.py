"""Trains the weights that every run starts from, on demonstrations of mixed quality, and stores them.

    python bed/warm_start.py [--steps N] [--seed S] [--out FILE]

warm_start.npz, which lies beside, is what this left once, with its command inside; nothing trains it anew in a run, so
that all runs everywhere start from the same weights. Another processor may round otherwise and come to other weights
with the same command; a raise of domain.version belongs to a new file.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from bed.demonstrations import demonstrations
from bed.model import Decoder, answer_logits, load

FILE = Path(__file__).parent / "warm_start.npz"
STEPS = 1200
BATCH = 128
LEARNING_RATE = 3e-3
WARMUP = 50


def warm_start() -> Decoder:
    """The model that every run starts from."""
    return load(FILE)


def learn(steps: int, seed: int) -> Decoder:
    """Supervised: AdamW, a linear warm-up, then a linear decay to a tenth."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Decoder()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: pace(step, steps))
    for _ in range(steps):
        prompts, answers, mask = (torch.from_numpy(array) for array in demonstrations(BATCH, rng))
        logits = answer_logits(model, prompts, answers)
        losses = cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none")
        loss = (losses * mask.flatten()).sum() / mask.sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model


def pace(step: int, steps: int) -> float:
    """Share of the learning rate."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 1 - 0.9 * (step - WARMUP) / max(1, steps - WARMUP)


def store(model: Decoder, path: Path, command: str, seed: int) -> None:
    """float32, with what made them."""
    arrays = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    np.savez(path, **arrays, command=np.array(command), seed=np.array(seed))


def main() -> None:
    """Learn and store."""
    parser = argparse.ArgumentParser(description="Trains the weights that every run starts from.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FILE)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    model = learn(asked.steps, asked.seed)
    command = shlex.join(["python", "bed/warm_start.py", "--steps", str(asked.steps), "--seed", str(asked.seed)])
    store(model, asked.out, command, asked.seed)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {time.process_time() - began:.1f} CPU s")


if __name__ == "__main__":
    main()
