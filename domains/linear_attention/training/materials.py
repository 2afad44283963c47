"""What there is to learn: batches for each task, and questions to ask in training, of the kind that the evaluator asks.

Drawn with the open seed, so a candidate could make all of it again. What is scored are answers to questions that are
drawn elsewhere, with the hidden seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tasks import corpus, questions, token_file
from tasks.questions import Questions
from tasks.synthetic import Batch, from_parameters

from training.token_batches import Batches, token_batches

LANGUAGE_MODEL = "lm"

TRAINING, VALIDATION = 0, 1
"""Streams of one seed."""

VALIDATION_TOKENS = 200_000
"""Of the training text, from which questions are taken."""


class Material:
    """One task: `vocabulary`, `batches(...)` to train on and `questions()` to claim a loss by."""

    def __init__(self, name: str, parameters: Mapping[str, Any], seed: int, train: Path) -> None:
        self.name = name
        self.length = int(parameters[f"{name}_length"])
        self._parameters = parameters
        self._seed = (seed, zlib.crc32(name.encode()))
        self._text = token_file.read(train) if name == LANGUAGE_MODEL else None
        self._task = None if self._text is not None else from_parameters(name, parameters)

    @property
    def vocabulary(self) -> int:
        """Token ids are below this."""
        return self._text.vocabulary if self._text is not None else self._task.vocabulary  # type: ignore[union-attr]

    def batches(self, batch: int, rank: int = 0, processes: int = 1) -> Batches:
        """Step (from 1) -> tokens and targets of this process, each (batch / processes, length) int64."""
        if self._text is not None:
            seed = int(np.random.SeedSequence([*self._seed, TRAINING]).generate_state(1)[0])
            return token_batches(
                self._text.tokens, batch=batch, length=self.length, seed=seed, rank=rank, processes=processes
            )
        task = self._task

        def at(step: int) -> Batch:
            rng = np.random.default_rng([*self._seed, TRAINING, step])
            tokens, targets = task.batch(rng, batch, self.length)  # type: ignore[union-attr]
            mine = slice(rank * batch // processes, (rank + 1) * batch // processes)
            return tokens[mine], targets[mine]

        return at

    def questions(self) -> Questions:
        """Of the audit's kind, with answers; for text they are about text that is learnt from."""
        rng = np.random.default_rng([*self._seed, VALIDATION])
        if self._task is not None:
            return questions.of_task(self._task, rng, int(self._parameters.get("audit_rows", 128)), self.length)
        tokens = np.asarray(self._text.tokens[:VALIDATION_TOKENS])  # type: ignore[union-attr]
        drawn = self._text.tokenizer == corpus.DRAWN_BYTES  # type: ignore[union-attr]
        return questions.of_text(
            rng,
            tokens,
            corpus.places_in_words(tokens) if drawn else None,
            rows=int(self._parameters.get("lm_audit_rows", 256)),
            length=self.length,
            questions=int(self._parameters.get("lm_audit_questions", 4)),
            word_start=drawn,
        )
