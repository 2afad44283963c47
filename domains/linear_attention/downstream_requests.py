"""Turn tasks of lm-evaluation-harness into requests that a candidate may see, and answers that it may not.

    python downstream_requests.py --tokens FOLDER --tasks piqa arc_easy --limit 500 --to DOMAIN/data

Runs by hand, where there is a network, lm_eval and the tokenizer; the sandbox then needs none of them. It writes

    inputs/downstream.npz    `tokens`, every context with its continuation, one after the other (int64); `ends`, where
                             each request ends; `continuations`, how many of its tokens are the continuation
    hidden/downstream.json   which requests are the choices of a document, and which choice is right

Requests are sorted and each is asked once, so their order tells nothing. Only tasks with choices are taken: where the
one continuation asked is the answer itself (as in lambada), or where text is generated, a candidate would be told the
answer, or be judged by what it says of itself.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from downstream import Encode, known_tasks

NEVER = -1e6
"""Log-probability of choices that are not taken, when a task is asked which of them is right."""

Request = tuple[tuple[int, ...], tuple[int, ...]]


def loaded(tasks: Sequence[str], limit: int | None, include: Path | None) -> dict[str, Any]:
    """Name -> task of lm_eval with its requests built, as its simple_evaluate does it.

    Raises ValueError for a task without choices.
    """
    from lm_eval.evaluator_utils import get_sample_size

    found = known_tasks(include).load(list(tasks))["tasks"]
    for name, task in found.items():
        if task.OUTPUT_TYPE != "multiple_choice":
            raise ValueError(f"Expected tasks with choices, but {name} is one of {task.OUTPUT_TYPE}. Leave it out.")
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=1234)  # as simple_evaluate has it
        task.build_all_requests(limit=get_sample_size(task, limit))
    return found


def pair_of(context: str, continuation: str, encode: Encode, end_of_text: int) -> Request:
    """The tokens of both, split where lm_eval splits them: spaces between belong to the continuation."""
    if not context:
        return (end_of_text,), tuple(encode(continuation))
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    before = encode(context)
    return tuple(before), tuple(encode(context + continuation)[len(before) :])


def record(
    tasks: dict[str, Any], encode: Encode, end_of_text: int
) -> tuple[list[Request], dict[str, list[dict[str, Any]]]]:
    """The requests, sorted and without repetition, and per task what its documents make of them (see accuracy.py)."""
    asked: dict[str, dict[int, dict[str, Any]]] = {}
    for name, task in tasks.items():
        for instance in task.instances:
            document = asked.setdefault(name, {}).setdefault(instance.doc_id, {"doc": instance.doc, "pairs": []})
            document["pairs"].append(pair_of(*instance.args, encode, end_of_text))
    requests = sorted({pair for each in asked.values() for document in each.values() for pair in document["pairs"]})
    index = {pair: number for number, pair in enumerate(requests)}
    hidden: dict[str, list[dict[str, Any]]] = {}
    for name, each in asked.items():
        for document in each.values():
            choices = tasks[name].doc_to_choice(document["doc"])
            if len(choices) != len(document["pairs"]):
                raise ValueError(f"Expected one request per choice, but {name} has others too. Leave it out.")
            hidden.setdefault(name, []).append(
                {
                    "requests": [index[pair] for pair in document["pairs"]],
                    "characters": [max(1, len(choice)) for choice in choices],
                    "right": right_choices(tasks[name], document["doc"], len(choices)),
                }
            )
    return requests, hidden


def right_choices(task: Any, document: dict[str, Any], choices: int) -> list[bool]:
    """Whether a model that prefers this choice is right, in the task's own judgement."""
    return [
        task.process_results(document, [(0.0 if other == mine else NEVER, other == mine) for other in range(choices)])[
            "acc"
        ]
        == 1.0
        for mine in range(choices)
    ]


def save(folder: Path, requests: list[Request], hidden: dict[str, list[dict[str, Any]]]) -> None:
    """Write both files; `folder` is the domain's data folder."""
    for part in ("inputs", "hidden"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    whole = [[*context, *continuation] for context, continuation in requests]
    np.savez_compressed(
        folder / "inputs" / "downstream.npz",
        tokens=np.concatenate([np.asarray(tokens, dtype=np.int64) for tokens in whole]),
        ends=np.cumsum([len(tokens) for tokens in whole], dtype=np.int64),
        continuations=np.array([len(continuation) for _, continuation in requests], dtype=np.int64),
    )
    (folder / "hidden" / "downstream.json").write_text(json.dumps(hidden))


def read(path: Path) -> list[tuple[list[int], list[int]]]:
    """The requests of inputs/downstream.npz as contexts and continuations, for `downstream.score`."""
    with np.load(path, allow_pickle=False) as arrays:
        tokens, ends, continuations = arrays["tokens"], arrays["ends"], arrays["continuations"]
    starts = [0, *ends[:-1].tolist()]
    return [
        (tokens[start : end - size].tolist(), tokens[end - size : end].tolist())
        for start, end, size in zip(starts, ends.tolist(), continuations.tolist(), strict=True)
    ]
