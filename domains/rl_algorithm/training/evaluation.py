"""What a model is worth on prompts that no training has seen. The candidate is not asked anything here, and the numbers
that decide what is sampled are the run's own: they do not depend on what training has drawn before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from bed.model import Decoder, answer_logits
from bed.sampling import Answers, answer
from bed.tasks import TASKS, Question, draw, encode_prompts, verify
from torch import Tensor

from training.runs import Evaluation

KL_ANSWERS = 384


class Evaluator:
    """The held-out prompts of a run, the same before, during and after it."""

    def __init__(self, reference: Decoder, prompts: int, seeds: Sequence[int]) -> None:
        self._reference = reference
        rng = np.random.default_rng(seeds)
        self._seed = int(rng.integers(2**63))
        self._questions = draw(prompts, rng, held_out=True)
        self._prompts = torch.from_numpy(encode_prompts(self._questions))

    def pass_at_1(self, model: Decoder) -> float:
        """Share of the sampled answers that are right."""
        return float(rewards(self._questions, self._sampled(model)).mean(dtype=np.float64))

    def full(self, model: Decoder) -> Evaluation:
        """Everything that is measured at the ends of a run."""
        answers = self._sampled(model)
        right = rewards(self._questions, answers)
        return Evaluation(
            pass_at_1=float(right.mean(dtype=np.float64)),
            greedy=float(rewards(self._questions, answer(model, self._prompts)).mean(dtype=np.float64)),
            by_task={task: float(right[self._of(task)].mean(dtype=np.float64)) for task in TASKS},
            entropy=float(answers.entropy.sum() / answers.mask.sum()),
            kl=divergence(model, self._reference, self._prompts, answers),
            length=float(answers.mask.sum(dim=1).mean()),
        )

    def _sampled(self, model: Decoder) -> Answers:
        return answer(model, self._prompts, generator=torch.Generator().manual_seed(self._seed))

    def _of(self, task: str) -> np.ndarray:
        return np.array([question.task == task for question in self._questions])


def rewards(questions: list[Question], answers: Answers) -> np.ndarray:
    """(B,) float32: 1 where an answer is right. Answers to one question are side by side."""
    tokens = answers.tokens.numpy()
    samples = len(tokens) // len(questions)
    return np.array([verify(questions[row // samples], tokens[row]) for row in range(len(tokens))], dtype=np.float32)


@torch.no_grad()
def divergence(model: Decoder, reference: Decoder, prompts: Tensor, answers: Answers) -> float:
    """KL(model || reference), nats a token, of the whole distributions where the model has sampled; over the first
    answers alone."""
    longest = int(answers.lengths.max())
    tokens, mask = answers.tokens[:KL_ANSWERS, :longest], answers.mask[:KL_ANSWERS, :longest]
    logps: Tensor = answer_logits(model, prompts[:KL_ANSWERS], tokens).log_softmax(-1)
    others: Tensor = answer_logits(reference, prompts[:KL_ANSWERS], tokens).log_softmax(-1)
    per_token = (logps.exp() * (logps - others)).sum(-1)
    return float((per_token * mask).sum() / mask.sum())
