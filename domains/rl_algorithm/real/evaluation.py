"""How good a model is on held-out problems: sampled pass@1, greedy accuracy, entropy, distance from the warm start.

No algorithm is asked here, and the generator of samples is this module's own: an evaluation does not move what the
training draws, and every evaluation draws the same numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from training.runs import Evaluation

from real.checking import Checker
from real.problems import Problem

SEED = 20_251_113
MOST_LOG_RATIO = 20.0
"""What lies further is cut off, or one token would be all there is (verl does so too)."""


def evaluate(trainer: Any, problems: Sequence[Problem], checker: Checker, samples: int, batch: int) -> Evaluation:
    """Ask every problem `samples` times at the temperature of training, and once greedily.

    Args:
        trainer: a `CandidateGRPOTrainer`, for its model, reference, tokenizer and form of prompts.
        batch: completions at a time.

    Entropy and KL to the reference are means over the sampled tokens. The KL is estimated at the tokens themselves by
    r - 1 - log r with r = reference / policy, which is unbiased and never negative (Schulman's k3, as in arXiv
    2402.03300, eq. 4); the sum over all tokens that the bed takes would need the logits of a whole vocabulary.
    """
    model = trainer.model
    with evaluating(model), torch.no_grad():
        drawn = [
            _Sampled(trainer, part, checker)
            for part in _parts([problem for problem in problems for _ in range(samples)], batch)
        ]
        greedy = [right for part in _parts(problems, batch) for right in _greedy(trainer, part, checker)]
    right = np.concatenate([part.right for part in drawn])
    tasks = np.asarray([problem.task for problem in problems for _ in range(samples)])
    tokens = max(1.0, sum(part.tokens for part in drawn))
    return Evaluation(
        pass_at_1=float(right.mean()),
        greedy=float(np.mean(greedy)),
        by_task={str(task): float(right[tasks == task].mean()) for task in np.unique(tasks)},
        entropy=sum(part.entropy for part in drawn) / tokens,
        kl=sum(part.kl for part in drawn) / tokens,
        length=tokens / len(right),
    )


class _Sampled:
    """Sums over a part of the samples."""

    def __init__(self, trainer: Any, problems: Sequence[Problem], checker: Checker) -> None:
        prompt, prompt_mask, completion, mask = _generate(trainer, problems, do_sample=True)
        ids, attention = torch.cat([prompt, completion], 1), torch.cat([prompt_mask, mask], 1)
        keep = completion.size(1)
        score = trainer._get_per_token_logps_and_entropies
        logp, entropy, _ = score(trainer.model, ids, attention, keep, compute_entropy=True)
        reference, _, _ = score(trainer.ref_model, ids, attention, keep)
        self.right = np.asarray(_rewards(trainer, completion, mask, problems, checker))
        self.tokens = float(mask.sum())
        self.entropy = float((entropy.float() * mask).sum())
        log_ratio = (reference.float() - logp.float()).clamp(-MOST_LOG_RATIO, MOST_LOG_RATIO)
        self.kl = float(((log_ratio.exp() - 1 - log_ratio) * mask).sum())


def _greedy(trainer: Any, problems: Sequence[Problem], checker: Checker) -> list[float]:
    _, _, completion, mask = _generate(trainer, problems, do_sample=False)
    return _rewards(trainer, completion, mask, problems, checker)


def _rewards(trainer: Any, completion: Any, mask: Any, problems: Sequence[Problem], checker: Checker) -> list[float]:
    kept = [row[keep.bool()].tolist() for row, keep in zip(completion.cpu(), mask.cpu(), strict=True)]
    texts = trainer.processing_class.batch_decode(kept, skip_special_tokens=True)
    return checker.rewards(texts, [problem.answer for problem in problems])


def _generate(trainer: Any, problems: Sequence[Problem], do_sample: bool) -> tuple[torch.Tensor, ...]:
    """(prompt, its mask, completion, its mask), each (batch, length); a completion ends with its first end."""
    tokenizer = trainer.processing_class
    told = [trainer.form_prompt(problem.prompt) for problem in problems]
    lists, _, _ = trainer._tokenize_prompts(told)
    widest = max(len(ids) for ids in lists)
    padding = tokenizer.pad_token_id
    prompt = torch.tensor([[padding] * (widest - len(ids)) + list(ids) for ids in lists], device=trainer.model.device)
    lengths = torch.tensor([len(ids) for ids in lists], device=prompt.device)
    prompt_mask = (torch.arange(widest, device=prompt.device) >= widest - lengths[:, None]).long()
    settings = {**trainer.generation_kwargs, "do_sample": do_sample}
    if not do_sample:
        settings |= {"temperature": None, "top_p": None, "top_k": None, "min_p": None}
    whole = trainer.model.generate(input_ids=prompt, attention_mask=prompt_mask, disable_compile=True, **settings)
    completion = whole[:, widest:]
    ended = torch.isin(completion, torch.tensor(trainer.eos_token_ids, device=prompt.device)).long()
    mask = ((ended.cumsum(1) - ended) == 0).long()
    return prompt, prompt_mask, completion, mask


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """No dropout, and this module's own random numbers meanwhile."""
    devices = [model.device] if model.device.type == "cuda" else []
    was_training = model.training
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(SEED)
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)


def _parts(problems: Sequence[Problem], size: int) -> Iterator[Sequence[Problem]]:
    for start in range(0, len(problems), size):
        yield problems[start : start + size]
