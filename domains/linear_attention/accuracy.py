"""Log-probabilities of continuations -> accuracies, as lm-evaluation-harness counts them. For the evaluator: no torch.

`acc`: the right choice has the highest log-probability. `acc_norm`: the highest per character of the choice.
"""

from typing import Any

import numpy as np


def accuracies(answers: np.ndarray, documents: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Task -> {"acc", "acc_norm", "documents"}.

    `answers`: (requests,) log-probabilities of any float type. `documents`: what downstream_requests.py has hidden:
    task -> per document "requests" (indices into the answers, one per choice), "characters" (of each choice) and
    "right" (whether each choice is). Raises ValueError for answers of another form, or that are not finite.
    """
    asked = 1 + max(index for each in documents.values() for document in each for index in document["requests"])
    if answers.shape != (asked,) or answers.dtype.kind != "f":
        raise ValueError(f"Expected ({asked},) log-probabilities, but got {answers.shape} of {answers.dtype}.")
    if not np.isfinite(answers).all():
        raise ValueError("Expected finite log-probabilities, but some are not.")
    return {task: _of_task(answers.astype(np.float64), each) for task, each in documents.items()}


def _of_task(answers: np.ndarray, documents: list[dict[str, Any]]) -> dict[str, float]:
    right, right_norm = 0, 0
    for document in documents:
        of_choices = answers[document["requests"]]
        right += bool(document["right"][int(np.argmax(of_choices))])
        right_norm += bool(document["right"][int(np.argmax(of_choices / np.asarray(document["characters"])))])
    return {
        "acc": right / len(documents),
        "acc_norm": right_norm / len(documents),
        "documents": float(len(documents)),
    }
