"""Reinforcement learning on the test bed, from the warm start to the last evaluation.

A step samples answers, asks the candidate for advantages, then for the gradient of its loss with respect to the
log-probabilities of each minibatch, and takes it through the model. The candidate sees arrays alone. Both gradients are
clipped by their global norm and AdamW divides the rest by its size, so that nothing is won by a larger loss; without
weight decay a gradient of zero leaves the weights as they are, to the bit.

Everything random comes from the seeds, and of the clock nothing is used: a run can be repeated to the bit on one kind
of processor with one thread. The candidate knows the seed of a run but not the hidden one: with it, it could tell which
rewards are flipped.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from bed.model import Decoder, answer_logits
from bed.sampling import Answers, answer
from bed.tasks import draw, encode_prompts
from boundary.checking import clipped
from torch import Tensor

from training.algorithm import Algorithm, Answer
from training.evaluation import Evaluator, rewards
from training.regimes import Regime
from training.runs import Run

GRADIENT_NORM = 1.0
"""Of d loss / d logp of a minibatch, and of the parameters' gradient. GRPO's first is about 0.05."""

BETAS = (0.9, 0.95)
"""Of AdamW. With a memory of 20 updates no sequence of gradients moves a parameter by more than 1.17 times the learning
rate at an update: by Cauchy and Schwarz the square of the largest ratio is 0.1^2 / 0.05 / (1 - 0.9^2 / 0.95). With the
usual 0.999 they are 7.3 times, and a candidate takes large steps by starting with small gradients."""

CLIP = 0.2
"""A token is counted as clipped where its ratio is further from 1; a measurement, whatever the candidate does."""

MOST_METRICS = 6
"""Of the candidate's own that are told; a line of progress has room for 16 fields."""

OnStep = Callable[[int, dict[str, float]], None]
"""Called with the steps done, from 0, and what is known then."""


class Sampled(NamedTuple):
    """What one step trains on, (B, ...)."""

    prompts: Tensor
    """(P, PROMPT_WIDTH), one a group."""
    answers: Answers
    ref_logp: np.ndarray
    batch: dict[str, np.ndarray]


class Updates(NamedTuple):
    """What came of the minibatches of one step."""

    loss: float
    clip_fraction: float
    metrics: dict[str, float]


def train(
    model: Decoder, algorithm: Algorithm, regime: Regime, seed: int, on_step: OnStep, hidden_seed: int = 0
) -> Run:
    """Train the model in place. `seed` names the run and is told to the candidate; raises what the algorithm raises."""
    began = time.process_time()
    algorithm.begin(seed)
    trainer = Trainer(model, algorithm, regime, (hidden_seed, seed, 2 * regime.place))
    evaluator = Evaluator(trainer.reference, regime.evaluation_prompts, (hidden_seed, seed, 2 * regime.place + 1))
    warm = evaluator.full(model)
    points = curve_steps(regime)
    curve = [(0, warm.pass_at_1)]
    on_step(0, {"pass@1": warm.pass_at_1, "entropy": warm.entropy, "length": warm.length})
    last, shares = warm, list[float]()
    for step in range(regime.steps):
        sampled = trainer.sample(step)
        updates = trainer.update(sampled)
        shares.append(updates.clip_fraction)
        told = measurements(sampled, updates)
        if step + 1 == regime.steps:
            last = evaluator.full(model)
        if step + 1 in points:
            share = last.pass_at_1 if step + 1 == regime.steps else evaluator.pass_at_1(model)
            curve.append((step + 1, share))
            told["pass@1"] = share
        if step + 1 == third(regime):
            told["third.gain"] = curve[-1][1] - warm.pass_at_1
        on_step(step + 1, told)
    return Run(
        regime=regime.name,
        seed=seed,
        steps=regime.steps,
        curve=curve,
        pass_at_1=last.pass_at_1,
        greedy=last.greedy,
        by_task=last.by_task,
        entropy=last.entropy,
        kl=last.kl,
        clip_fraction=float(np.mean(shares)),
        length=last.length,
        length_start=warm.length,
        warm=warm,
        cpu_seconds=time.process_time() - began,
    )


class Trainer:
    """The model, its optimiser and all that is drawn for one run."""

    def __init__(self, model: Decoder, algorithm: Algorithm, regime: Regime, seeds: Sequence[int]) -> None:
        self.reference = copy.deepcopy(model).requires_grad_(False)
        self._model = model
        self._algorithm = algorithm
        self._regime = regime
        self._optimiser = torch.optim.AdamW(
            model.parameters(), lr=regime.learning_rate, betas=BETAS, weight_decay=0.0, fused=True
        )
        self._rng = np.random.default_rng(seeds)
        self._generator = torch.Generator().manual_seed(int(self._rng.integers(2**63)))

    def sample(self, step: int) -> Sampled:
        """Answers of the model as it is, with their rewards."""
        regime = self._regime
        questions = draw(regime.prompts, self._rng)
        self._rng.shuffle(questions)  # in turns, their place would tell the task
        prompts = torch.from_numpy(encode_prompts(questions))
        answers = answer(self._model, prompts, regime.samples, self._generator)
        right = rewards(questions, answers)
        turned = self._rng.random(len(right)) < regime.flipped
        batch = {
            "rewards": np.where(turned, 1 - right, right).astype(np.float32),
            "group_ids": np.repeat(np.arange(regime.prompts, dtype=np.int64), regime.samples),
            "group_size": np.array(regime.samples, dtype=np.int64),
            "lengths": answers.lengths.numpy(),
            "mask": answers.mask.numpy(),
            "old_logp": answers.logp.numpy(),
            "entropy": answers.entropy.numpy(),
            "step": np.array(step, dtype=np.int64),
            "total_steps": np.array(regime.steps, dtype=np.int64),
        }
        with torch.no_grad():
            ref_logp = token_logp(self.reference, prompts, answers.tokens, answers.mask)
        return Sampled(prompts, answers, ref_logp.numpy(), batch)

    def update(self, sampled: Sampled) -> Updates:
        """All epochs over what was sampled."""
        regime = self._regime
        advantages = self._algorithm.advantages(_copied(sampled.batch))
        losses: list[Answer] = []
        shares: list[float] = []
        for _ in range(regime.epochs):
            for groups in np.split(self._rng.permutation(regime.prompts), regime.minibatches):
                rows = (groups[:, None] * regime.samples + np.arange(regime.samples)).ravel()
                logp = self._logp(sampled, groups, rows)
                old_logp, mask = sampled.batch["old_logp"][rows], sampled.batch["mask"][rows]
                shares.append(share_clipped(logp.detach().numpy(), old_logp, mask))
                losses.append(self._ask(sampled, advantages, logp, rows))
                self._descend(logp, losses[-1].gradient * mask)
        metrics = {f"candidate/{name}": value for name, value in list(losses[-1].metrics.items())[:MOST_METRICS]}
        return Updates(float(np.mean([one.loss for one in losses])), float(np.mean(shares)), metrics)

    def _logp(self, sampled: Sampled, groups: np.ndarray, rows: np.ndarray) -> Tensor:
        prompts, answers = sampled.prompts, sampled.answers
        return token_logp(self._model, prompts[groups], answers.tokens[rows], answers.mask[rows])

    def _ask(self, sampled: Sampled, advantages: np.ndarray, logp: Tensor, rows: np.ndarray) -> Answer:
        info = {name: array[rows] if array.ndim else array.copy() for name, array in sampled.batch.items()}
        return self._algorithm.loss(
            logp.detach().numpy().copy(),
            info["old_logp"].copy(),
            sampled.ref_logp[rows],
            advantages[rows],
            info["mask"].copy(),
            info,
        )

    def _descend(self, logp: Tensor, gradient: np.ndarray) -> None:
        self._optimiser.zero_grad()
        logp.backward(torch.from_numpy(clipped(gradient, GRADIENT_NORM)))
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), GRADIENT_NORM, error_if_nonfinite=True)
        self._optimiser.step()


def token_logp(model: Decoder, prompts: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities of the answers' tokens, (B, T), zero outside the mask; columns that are all outside cost
    nothing."""
    longest = int(mask.sum(dim=1).max())
    logps = answer_logits(model, prompts, tokens[:, :longest]).log_softmax(-1)
    chosen = logps.gather(-1, tokens[:, :longest].unsqueeze(-1)).squeeze(-1) * mask[:, :longest]
    return functional.pad(chosen, (0, mask.shape[1] - longest))


def share_clipped(logp: np.ndarray, old_logp: np.ndarray, mask: np.ndarray) -> float:
    """Of the tokens: those with a ratio further than CLIP from 1."""
    far = np.abs(np.exp(logp - old_logp) - 1) > CLIP
    return float((far * mask).sum() / mask.sum())


def measurements(sampled: Sampled, updates: Updates) -> dict[str, float]:
    """What is told of one step."""
    tokens = sampled.batch["mask"].sum()
    return {
        "reward": float(sampled.batch["rewards"].mean()),
        "loss": updates.loss,
        "entropy": float(sampled.batch["entropy"].sum() / tokens),
        "length": float(sampled.batch["lengths"].mean()),
        "clip_fraction": updates.clip_fraction,
        **updates.metrics,
    }


def curve_steps(regime: Regime) -> set[int]:
    """After which steps pass@1 is measured; a third of the steps and the last are always among them."""
    even = {round(regime.steps * point / regime.curve_points) for point in range(1, regime.curve_points + 1)}
    return even | {third(regime), regime.steps}


def third(regime: Regime) -> int:
    """The step at which a hopeless run is known."""
    return max(1, round(regime.steps / 3))


def _copied(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in batch.items()}
