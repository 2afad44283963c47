"""What the warm start learns from: answers of mixed quality.

30 % are right, 40 % follow a systematic shortcut, 30 % are noise. From clean demonstrations a model learns all that it
can, and reinforcement learning has nothing left to bring out; from these it learns to be right as one habit of several.
"""

from __future__ import annotations

import numpy as np

from bed.tasks import ANSWER_LIMIT, END, Question, draw, encode, encode_prompts

RIGHT, SHORTCUT = 0.3, 0.4


def shortcut(question: Question) -> str:
    """The wrong habit of a task: adding without carrying, the last digit for the remainder, the digits backwards."""
    body = question.prompt.strip("s=")
    if question.task == "add":
        a, b = body.split("+")
        return "".join(str((int(x) + int(y)) % 10) for x, y in zip(a.zfill(2), b.zfill(2), strict=True))
    if question.task == "mod":
        return body.split("%")[0][-1]
    return body[::-1]


def noise(rng: np.random.Generator) -> str:
    """One to six digits."""
    return "".join(str(digit) for digit in rng.integers(0, 10, int(rng.integers(1, 7))))


def demonstration(question: Question, rng: np.random.Generator) -> str:
    """One answer to the question."""
    chance = rng.random()
    if chance < RIGHT:
        return question.answer
    return shortcut(question) if chance < RIGHT + SHORTCUT else noise(rng)


def demonstrations(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prompts (count, PROMPT_WIDTH) and answers (count, T), int64, and a mask (count, T) of the tokens to learn."""
    questions = draw(count, rng)
    answers = np.full((count, ANSWER_LIMIT), END, dtype=np.int64)
    mask = np.zeros((count, ANSWER_LIMIT), dtype=np.float32)
    for row, question in enumerate(questions):
        answer = encode(demonstration(question, rng))
        answers[row, : len(answer)] = answer
        mask[row, : len(answer) + 1] = 1
    return encode_prompts(questions), answers, mask
