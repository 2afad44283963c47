"""Turn tasks of lm-evaluation-harness into requests that a candidate may see, and answers that it may not.

    python tasks/downstream_requests.py --tasks piqa arc_easy --tokenizer tokenizer.json

Runs by hand, where there is a network, lm_eval and the tokenizer; the sandbox then needs none of them. It writes

    inputs/downstream.npz    `tokens`, every context with its continuation, one after the other (int64); `ends`, where
                             each request ends; `continuations`, how many of its tokens are the continuation
    hidden/downstream.json   which requests are the choices of a document, and which choice is right

Requests are sorted and each is asked once, so their order tells nothing. Only tasks with choices are taken: where the
one continuation asked is the answer itself (as in lambada), or where text is generated, a candidate would be told the
answer, or be judged by what it says of itself.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

Encode = Callable[[str], list[int]]

QUESTIONS, ANSWERS = "downstream.npz", "downstream.json"

HOW = "Make them with tasks/downstream_requests.py."

NEVER = -1e6
"""Log-probability of choices that are not taken, when a task is asked which of them is right."""

Request = tuple[tuple[int, ...], tuple[int, ...]]
"""Tokens of a context and of a continuation."""

Documents = dict[str, list[dict[str, Any]]]
"""Task -> what each document makes of the requests (see judging/accuracy.py)."""


# ---- from lm_eval ----


@cache
def known_tasks(include: Path | None) -> Any:
    """lm_eval's own tasks and those of a folder, by name; reading them takes seconds."""
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]  -- by hand

    return TaskManager(include_path=str(include) if include else None)


def loaded(tasks: Sequence[str], limit: int | None, include: Path | None) -> dict[str, Any]:
    """Name -> task of lm_eval with its requests built, as its simple_evaluate does it.

    Raises ValueError for a task without choices.
    """
    from lm_eval.evaluator_utils import get_sample_size  # pyright: ignore[reportMissingImports]  -- by hand

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
        asked = tuple(encode(continuation))
        return ((end_of_text,), asked) if asked[0] != end_of_text else (asked[:1], asked[1:])
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    before = encode(context)
    return tuple(before), tuple(encode(context + continuation)[len(before) :])


def record(tasks: dict[str, Any], encode: Encode, end_of_text: int) -> tuple[list[Request], Documents]:
    """The requests, sorted and without repetition, and what documents make of them."""
    asked: dict[str, dict[int, dict[str, Any]]] = {}
    for name, task in tasks.items():
        for instance in task.instances:
            document = asked.setdefault(name, {}).setdefault(instance.doc_id, {"doc": instance.doc, "pairs": []})
            context, continuation = instance.args
            document["pairs"].append(pair_of(context, continuation, encode, end_of_text))
    requests = sorted({pair for each in asked.values() for document in each.values() for pair in document["pairs"]})
    index = {pair: number for number, pair in enumerate(requests)}
    hidden: Documents = {}
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


# ---- the two files ----


def save(inputs: Path, hidden: Path, requests: Sequence[Request], documents: Documents) -> None:
    """Write inputs/downstream.npz and hidden/downstream.json."""
    for folder in (inputs, hidden):
        folder.mkdir(parents=True, exist_ok=True)
    whole = [[*context, *continuation] for context, continuation in requests]
    np.savez_compressed(
        inputs / QUESTIONS,
        tokens=np.concatenate([np.asarray(tokens, dtype=np.int64) for tokens in whole]),
        ends=np.cumsum([len(tokens) for tokens in whole], dtype=np.int64),
        continuations=np.array([len(continuation) for _, continuation in requests], dtype=np.int64),
    )
    (hidden / ANSWERS).write_text(json.dumps(documents))


def read(inputs: Path) -> list[Request]:
    """The requests of inputs/downstream.npz as contexts and continuations, for `downstream.score`."""
    with np.load(inputs / QUESTIONS, allow_pickle=False) as arrays:
        tokens, ends, continuations = (arrays[name].tolist() for name in ("tokens", "ends", "continuations"))
    starts = [0, *ends[:-1]]
    return [
        (tuple(tokens[start : end - size]), tuple(tokens[end - size : end]))
        for start, end, size in zip(starts, ends, continuations, strict=True)
    ]


def carry(job: Path, tasks: Sequence[str]) -> None:
    """For the generator, whose folders take the place of the domain's: these tasks from job/inputs and job/hidden to
    job/out. Raises ValueError where a task was not prepared.
    """
    if not all(path.is_file() for path in (job / "inputs" / QUESTIONS, job / "hidden" / ANSWERS)):
        raise ValueError(f"Expected requests of {', '.join(tasks)} in data/inputs and data/hidden, but got none. {HOW}")
    requests, documents = read(job / "inputs"), json.loads((job / "hidden" / ANSWERS).read_text())
    if missing := [task for task in tasks if task not in documents]:
        raise ValueError(f"Expected requests of {', '.join(missing)}, but got those of {', '.join(documents)}. {HOW}")
    chosen = {task: documents[task] for task in tasks}
    asked = sorted({number for each in chosen.values() for document in each for number in document["requests"]})
    place = {number: index for index, number in enumerate(asked)}
    for each in chosen.values():
        for document in each:
            document["requests"] = [place[number] for number in document["requests"]]
    save(job / "out" / "inputs", job / "out" / "hidden", [requests[number] for number in asked], chosen)


# ---- the command line ----


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare requests."""
    import prepare

    parser = argparse.ArgumentParser(description="Requests of lm-evaluation-harness for the stage verify_gpu.")
    parser.add_argument("--tasks", nargs="+", required=True, help="tasks with choices, as lm_eval calls them")
    parser.add_argument("--tokenizer", type=Path, help="the tokenizer.json of the token file; bytes without")
    parser.add_argument("--separator", help="its token between documents, as for prepare.py")
    parser.add_argument("--limit", type=int, default=500, help="documents of each task (500)")
    parser.add_argument("--include", type=Path, help="a folder with task files of your own")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent.parent / "data", help="the domain's data folder"
    )
    options = parser.parse_args(arguments)
    given = options.tokenizer
    tokenizer = prepare.given_tokenizer(given, options.separator) if given else prepare.byte_level()

    def encode(text: str) -> list[int]:
        return tokenizer.encode([text.encode()])[0].tolist()

    requests, documents = record(loaded(options.tasks, options.limit, options.include), encode, tokenizer.separator)
    save(options.out / "inputs", options.out / "hidden", requests, documents)
    for task, each in documents.items():
        print(f"{task}: {len(each)} documents")
    print(f"{options.out}: {len(requests):,} requests")


if __name__ == "__main__":
    main()
