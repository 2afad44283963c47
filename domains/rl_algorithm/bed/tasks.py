"""Three tasks with answers that a program verifies: a+b, a%m, and sorting digits.

    "   47+85=" -> "132"    "   83%07=" ...

Prompts are of one width, filled up with spaces on the left, so that no model needs padding. A fifth of all prompts, by
a hash of their text, is held out: no demonstration and no step of reinforcement learning has them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ALPHABET = "0123456789+%s= ."
"""`.` ends a text."""

END = ALPHABET.index(".")
PROMPT_WIDTH = 7
ANSWER_LIMIT = 8
"""Tokens of an answer at most, its end among them. The right ones have at most 6."""

TASKS = ("add", "mod", "sort")
HELD_OUT_ONE_IN = 5


class Question(NamedTuple):
    """A prompt and its right answer, without the character that ends it."""

    task: str
    prompt: str
    answer: str


def add(rng: np.random.Generator) -> Question:
    """The sum of a number up to 99 and one up to 19."""
    a, b = int(rng.integers(0, 100)), int(rng.integers(0, 20))
    return Question("add", f"{a}+{b}=", str(a + b))


def mod(rng: np.random.Generator) -> Question:
    """The remainder of a number up to 199, divided by one from 2 to 9."""
    a, m = int(rng.integers(10, 200)), int(rng.integers(2, 10))
    return Question("mod", f"{a}%{m}=", str(a % m))


def sort(rng: np.random.Generator) -> Question:
    """Three to five digits in ascending order."""
    digits = [str(digit) for digit in rng.integers(0, 10, int(rng.integers(3, 6)))]
    return Question("sort", f"s{''.join(digits)}=", "".join(sorted(digits)))


DRAW = {"add": add, "mod": mod, "sort": sort}


def is_held_out(question: Question) -> bool:
    """Whether the prompt belongs to the evaluation."""
    digest = hashlib.blake2b(question.prompt.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_ONE_IN == 0


def draw(count: int, rng: np.random.Generator, *, held_out: bool = False) -> list[Question]:
    """Questions of all tasks in turn, from the prompts that are held out or from the others."""
    questions: list[Question] = []
    while len(questions) < count:
        question = DRAW[TASKS[len(questions) % len(TASKS)]](rng)
        if is_held_out(question) == held_out:
            questions.append(question)
    return questions


def encode(text: str) -> list[int]:
    """Characters as numbers."""
    return [ALPHABET.index(character) for character in text]


def encode_prompts(questions: Sequence[Question]) -> np.ndarray:
    """(questions, PROMPT_WIDTH) int64."""
    return np.array([encode(question.prompt.rjust(PROMPT_WIDTH)) for question in questions], dtype=np.int64)


def verify(question: Question, tokens: np.ndarray) -> bool:
    """Whether the tokens of an answer (at most ANSWER_LIMIT) are the right answer and its end, and nothing before."""
    expected = [*encode(question.answer), END]
    return tokens[: len(expected)].tolist() == expected
