"""Whether a completion has the right answer, by math-verify: reads both as mathematics and compares them with sympy.

The last \\boxed{} is taken where there is one, else the last expression or number. What math-verify cannot read in a
completion is wrong. It bounds its own time by alarms, which takes the main thread.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import math_verify

SECONDS = 5
"""For reading a text, and for comparing two expressions."""

# Each text that takes too long is a warning with a traceback, and models write many.
logging.getLogger("math_verify").setLevel(logging.CRITICAL)


class Checker:
    """Compares completions with answers; answers are read once."""

    def __init__(self) -> None:
        self._answers: dict[str, list[Any]] = {}
        self._forms = (math_verify.LatexExtractionConfig(boxed_match_priority=0), math_verify.ExprExtractionConfig())

    def can_read(self, answer: str) -> bool:
        """Whether an answer is mathematics; no completion could be right otherwise."""
        return bool(self._answer(answer))

    def is_right(self, completion: str, answer: str) -> bool:
        """Whether the completion comes to the answer."""
        found = math_verify.parse(completion, self._forms, parsing_timeout=SECONDS)
        return bool(found) and bool(math_verify.verify(self._answer(answer), found, timeout_seconds=SECONDS))

    def rewards(self, completions: Sequence[str], answers: Sequence[str]) -> list[float]:
        """1.0 for each that is right, else 0.0."""
        return [float(self.is_right(text, answer)) for text, answer in zip(completions, answers, strict=True)]

    def _answer(self, answer: str) -> list[Any]:
        if answer not in self._answers:
            self._answers[answer] = math_verify.parse(f"\\boxed{{{answer}}}", self._forms, parsing_timeout=SECONDS)
        return self._answers[answer]
