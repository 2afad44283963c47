"""How a trained model does on the tasks of lm-evaluation-harness (arXiv 2405.14782), in this process.

`score` is all that a model has to do for them: the log-probability of a continuation after a context. Two ways lead to
it.

- `evaluate` hands lm_eval the model behind its own interface, with tasks by name. The right answers are then in the
  process: for programs that are trusted.
- A candidate's process must not hold answers. There requests come tokenised from downstream_requests.py, `score` gives
  their log-probabilities, and the evaluator turns these into accuracies (judging/accuracy.py).

Only `adapter` and `evaluate` need lm_eval (0.4.13 is tested). Nothing is cached, and generation computes its whole
context anew for every token: a mixer's state is not carried on, since candidates need not be able to.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasks.downstream_requests import Encode, known_tasks, read

Decode = Callable[[list[int]], str]
Pair = tuple[Sequence[int], Sequence[int]]
"""Tokens of a context, at least one, and of a continuation, at least one."""

LONGEST_ANSWER = 256
"""Tokens that are generated where a task names no bound."""


# ---- what the model is asked ----


def _window(pair: Pair, length: int) -> list[int]:
    """What the model reads: as much of the context as fits before the continuation, without its last token."""
    context, continuation = pair
    if not context or not 1 <= len(continuation) <= length:
        raise ValueError(
            f"Expected a context and a continuation of 1 to {length} tokens, but got {len(context)} and "
            f"{len(continuation)}. Take a task with shorter answers, or a longer window."
        )
    return [*context, *continuation][:-1][-length:]


def _logits(model: nn.Module, windows: list[list[int]], device: torch.device, precision: str) -> Tensor:
    """(rows, longest, vocabulary) float32. Windows are filled up on the right, where a causal model does not look."""
    longest = max(map(len, windows))
    filled = torch.tensor([window + [0] * (longest - len(window)) for window in windows], device=device)
    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        return model(filled).float()


def score(
    model: nn.Module, pairs: Sequence[Pair], *, length: int, rows: int, device: torch.device, precision: str
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of the continuations in nats, (pairs,) float64, and whether each is what greedy decoding gives.

    `length`: the longest window that the model was trained on; a longer context loses its beginning. `rows`: of one
    forward pass. `precision`: "fp32" or "bf16" (autocast). Raises ValueError for pairs that do not fit.
    """
    windows = [_window(pair, length) for pair in pairs]
    sums, greedy = np.zeros(len(pairs)), np.zeros(len(pairs), dtype=bool)
    longest_first = sorted(range(len(pairs)), key=lambda index: -len(windows[index]))
    was_training = model.training
    model.eval()
    for start in range(0, len(pairs), rows):
        chosen = longest_first[start : start + rows]
        logits = _logits(model, [windows[index] for index in chosen], device, precision)
        for row, index in enumerate(chosen):
            continuation = torch.tensor(list(pairs[index][1]), device=device)
            end = len(windows[index])
            asked = logits[row, end - len(continuation) : end].double().log_softmax(-1)
            sums[index] = asked.gather(-1, continuation[:, None]).sum().item()
            greedy[index] = bool((asked.argmax(-1) == continuation).all().item())
    model.train(was_training)
    return sums, greedy


def answer(job: Path, model: nn.Module, vocabulary: int, **how: Any) -> None:
    """Answer the requests in job/inputs: writes job/out/downstream.npz, `log_probabilities` (requests,) float64.

    `how`: length, rows, device and precision, as for `score`. Raises ValueError where the requests are of another
    tokenizer, as far as their ids tell.
    """
    pairs = read(job / "inputs")
    largest = max(max(*context, *continuation) for context, continuation in pairs)
    if largest >= vocabulary:
        raise ValueError(
            f"Expected requests with token ids below {vocabulary}, those of the token file, but got {largest}. "
            "Make them with the same tokenizer.json as the token file."
        )
    sums, _ = score(model, pairs, **how)
    np.savez(job / "out" / "downstream.npz", log_probabilities=sums)


def generate(
    model: nn.Module, context: Sequence[int], decode: Decode, stops: Iterable[str], most: int, **how: Any
) -> str:
    """The greedy continuation of a context, up to the first of `stops` (left out) or `most` tokens.

    `how`: length, device and precision, as for `score`.
    """
    tokens = list(context)
    text = ""
    for _ in range(most):
        window = tokens[-how["length"] :]
        tokens.append(int(_logits(model, [window], how["device"], how["precision"])[0, -1].argmax().item()))
        text = decode(tokens[len(context) :])
        ends = [text.index(stop) for stop in stops if stop and stop in text]
        if ends:
            return text[: min(ends)]
    return text


# ---- the same behind lm_eval's interface ----


def adapter(
    model: nn.Module,
    encode: Encode,
    decode: Decode,
    end_of_text: int,
    *,
    length: int,
    rows: int = 16,
    device: torch.device | None = None,
    precision: str = "fp32",
) -> Any:
    """The model as an lm_eval.api.model.LM. `end_of_text` stands before a text that has no context."""
    from lm_eval import utils  # pyright: ignore[reportMissingImports]  -- by hand
    from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]  -- by hand

    how = {"length": length, "device": device or torch.device("cpu"), "precision": precision}

    class Model(TemplateLM):
        @property
        def eot_token_id(self) -> int:
            return end_of_text

        def tok_encode(self, string: str, *_: Any, **__: Any) -> list[int]:
            return encode(string)

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            pairs = [(context, continuation) for _, context, continuation in requests]
            sums, greedy = score(model, pairs, rows=rows, **how)
            return [(float(total), bool(same)) for total, same in zip(sums, greedy, strict=True)]

        def loglikelihood_rolling(self, requests: Any, **_: Any) -> list[float]:
            answers = []
            for request in requests:
                windows = utils.get_rolling_token_windows(encode(request.args[0]), end_of_text, length, 1)
                pairs = list(map(utils.make_disjoint_window, windows))
                answers.append(float(score(model, pairs, rows=rows, **how)[0].sum()))
            return answers

        def generate_until(self, requests: Any, **_: Any) -> list[str]:
            was_training = model.training
            model.eval()
            answers = []
            for request in requests:
                context, wishes = request.args
                if wishes.get("do_sample") and wishes.get("temperature", 1.0) > 0:
                    raise ValueError(f"Expected a task with greedy answers, but got {wishes}. Leave the task out.")
                until = wishes.get("until") or []
                stops = [until] if isinstance(until, str) else list(until)
                most = int(wishes.get("max_gen_toks", LONGEST_ANSWER))
                answers.append(generate(model, encode(context) or [end_of_text], decode, stops, most, **how))
            model.train(was_training)
            return answers

    return Model()


def evaluate(
    language_model: Any, tasks: Sequence[str], *, limit: int | None = 500, include: Path | None = None
) -> dict[str, dict[str, float]]:
    """Task -> metric -> value, from lm_eval itself; standard errors are metrics named METRIC_stderr.

    `limit`: documents of a task. `include`: a folder with task files of one's own (YAML).
    """
    from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]  -- by hand

    found = simple_evaluate(
        language_model,
        tasks=list(tasks),
        limit=limit,
        task_manager=known_tasks(include),
        bootstrap_iters=0,
        log_samples=False,
    )
    results = found["results"] if found else {}
    return {
        task: {
            name.split(",")[0]: float(value)
            for name, value in metrics.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for task, metrics in results.items()
    }
