"""Problems with answers that a program can check, as prepare.py leaves them and the trainer reads them.

A file of problems is JSONL, each line {"prompt": text, "answer": text, "task": name}. Other people's files are read in
the forms in which they are published:

    GSM8K (arXiv 2110.14168)   {"question", "answer"}, the answer behind "####"; JSONL, or Parquet of the Hub
    MATH (arXiv 2103.03874)    {"problem", "solution", "type"}, the answer in the last \\boxed{} of the solution; one
                               JSON file a problem, JSONL, or Parquet
    your own                   {"prompt", "answer"} and, if you like, "task"
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

Split = Literal["train", "test"]
MATHEMATICS = "\nPlease reason step by step, and put your final answer within \\boxed{}."
HELD_OUT = 10
"""One problem in so many is held out, by the hash of its prompt, where its file says nothing of train and test."""
SUFFIXES = (".jsonl", ".json", ".parquet")
TASK = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST_TASKS = 40
"""Each has a pass@1 of its own in the result, where the evaluator takes as many, and names of this form."""


class Problem(NamedTuple):
    """A prompt, and the answer that it is rewarded for."""

    prompt: str
    answer: str
    task: str


def read(path: Path) -> list[Problem]:
    """The problems of a file that `write` wrote.

    Raises:
        ValueError: a line is no problem, there is none, or there are too many tasks; the message names the line.
    """
    problems: list[Problem] = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line)
                problem = Problem(row["prompt"], row["answer"], row.get("task", "problems"))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"Expected a JSON object with prompt and answer in {path.name}, line {number}, but: {error!r}."
                ) from error
            if not all(isinstance(field, str) and field for field in problem):
                raise ValueError(f"Expected texts in {path.name}, line {number}, but got {str(problem)[:200]}.")
            if not TASK.fullmatch(problem.task):
                raise ValueError(
                    f"Expected a task of small letters, digits and _ in {path.name}, line {number}, but got "
                    f"{problem.task[:80]!r}."
                )
            problems.append(problem)
    if not problems:
        raise ValueError(f"Expected problems in {path.name}, but it is empty. Make it again with prepare.py.")
    if len(tasks := {problem.task for problem in problems}) > MOST_TASKS:
        raise ValueError(
            f"Expected at most {MOST_TASKS} tasks in {path.name}, but got {len(tasks)}. Give rows a common `task`."
        )
    return problems


def write(path: Path, problems: list[Problem]) -> None:
    """One line for each."""
    lines = [json.dumps(problem._asdict(), ensure_ascii=False) for problem in problems]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def published(path: Path, instruction: str) -> Iterator[tuple[Split, Problem]]:
    """Each problem of a file or folder in one of the published forms, and whether it is to learn from or held out.

    Args:
        instruction: put behind the problems of GSM8K and MATH, which do not say how to answer.

    Raises:
        ValueError: there is no such file, or something in it is of no known form.
    """
    files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise ValueError(f"Expected {', '.join(SUFFIXES)} files at {path}, but there are none.")
    for file in files:
        for row in _rows(file):
            problem = of_row(row, instruction, file)
            yield split_of(file, path) or _drawn(problem), problem


def of_row(row: Mapping[str, Any], instruction: str, file: Path) -> Problem:
    """A problem out of a row in one of the published forms.

    Raises:
        ValueError: it is in none.
    """
    match row:
        case {"prompt": str(prompt), "answer": str() | int() | float() as answer}:
            return Problem(prompt, str(answer), _name(row.get("task") or _of_file(file)))
        case {"question": str(question), "answer": str(answer)} if "####" in answer:
            return Problem(question + instruction, answer.rsplit("####", 1)[1].strip().replace(",", ""), "gsm8k")
        case {"problem": str(problem), "solution": str(solution)}:
            answer = row.get("answer") or last_boxed(solution) or ""
            return Problem(problem + instruction, str(answer), _name(row.get("type") or row.get("subject") or "math"))
    raise ValueError(
        "Expected a row of GSM8K (question, answer with ####), of MATH (problem, solution with \\boxed) or of your own "
        f"(prompt, answer) in {file}, but got {str(dict(row))[:300]}."
    )


def _of_file(file: Path) -> str:
    """The task of rows that name none; a folder of .json files has one problem in each."""
    return file.parent.name if file.suffix == ".json" else file.stem


def _name(task: object) -> str:
    """A task as the evaluator takes it: Counting & Probability -> counting_probability."""
    name = re.sub(r"[^a-z0-9]+", "_", str(task).lower()).strip("_")[:40]
    return name if name[:1].isalpha() else f"task_{name}"[:40]


def last_boxed(solution: str) -> str | None:
    r"""What stands in the last \boxed{} or \fbox{}, whose braces may hold braces; None where there is none."""
    start = max(solution.rfind("\\boxed"), solution.rfind("\\fbox"))
    opening = solution.find("{", start)
    if start < 0:
        return None
    if opening < 0 or solution[start:opening].strip() not in ("\\boxed", "\\fbox"):
        words = solution[start:].split(maxsplit=1)  # a few write \boxed 3
        return words[1].split("$")[0].strip() if len(words) > 1 else None
    depth = 0
    for place in range(opening, len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[place], 0)
        if depth == 0:
            return solution[opening + 1 : place].strip()
    return None


def split_of(file: Path, root: Path) -> Split | None:
    """Which part a file says that it is: by a word of its name, or the name of a folder of the data."""
    words = re.split(r"[^a-z]+", file.stem.lower())
    folders = [root.name, *file.relative_to(root).parts[:-1]] if file != root else [file.parent.name]
    if "test" in (*words, *folders):
        return "test"
    return "train" if "train" in (*words, *folders) else None


def _drawn(problem: Problem) -> Split:
    digest = hashlib.sha256(problem.prompt.encode("utf-8", "surrogatepass")).digest()
    return "test" if digest[0] % HELD_OUT == 0 else "train"


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    if file.suffix == ".parquet":
        yield from _parquet(file)
        return
    text = file.read_text(encoding="utf-8")
    parts = [text] if file.suffix == ".json" else [line for line in text.split("\n") if line.strip()]
    for number, part in enumerate(parts, 1):
        try:
            found = json.loads(part)
        except ValueError as error:
            raise ValueError(f"Expected JSON in {file}, line {number}, but: {error}.") from error
        for row in found if isinstance(found, list) else [found]:
            if not isinstance(row, dict):
                raise ValueError(f"Expected a JSON object in {file}, line {number}, but got {str(row)[:100]}.")
            yield row


def _parquet(file: Path) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import parquet  # pyright: ignore[reportMissingImports] -- comes with the package datasets
    except ImportError as error:
        raise ValueError(f"Expected the package pyarrow to read {file}. Do: pip install pyarrow") from error
    yield from parquet.read_table(file).to_pylist()
