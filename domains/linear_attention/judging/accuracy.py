"""Log-probabilities of continuations -> accuracies, as lm-evaluation-harness counts them. For the evaluator: no torch.

`acc`: the right choice has the highest log-probability. `acc_norm`: the highest per character of the choice.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

LARGEST = 50_000_000
"""Bytes of an array of answers that is read."""


def judge(job: Path) -> dict[str, dict[str, float]]:
    """The accuracies of job/outputs/downstream.npz, held against job/hidden/downstream.json.

    Raises ValueError for a file of any other form than `downstream.answer` writes.
    """
    documents = json.loads((job / "hidden" / "downstream.json").read_text())
    return accuracies(_answers(job / "outputs" / "downstream.npz"), documents)


def _answers(path: Path) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"it unpacks to {size} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays["log_probabilities"])
    # What a candidate leaves may be anything, and zipfile and numpy raise many things over it.
    except Exception as error:
        raise ValueError(f"Expected {path.name} with an array log_probabilities, but {error}.") from error


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
