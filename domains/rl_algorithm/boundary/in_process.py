"""The same algorithm out of a file in this process: for reference programs, tests and benchmarks.

NOT for candidates: whoever runs in the trainer's process reaches the trainer, checks or no checks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training.algorithm import Answer

from boundary.candidate_side import CandidateSide
from boundary.checking import Arrays, batch_arrays, checked_advantages, checked_loss, loss_arrays


class InProcessAlgorithm:
    """A file with the two functions. Answers are held to the same form: any other raises `Refused`."""

    def __init__(self, path: Path, *, own_random_numbers: bool = True) -> None:
        """Import it.

        Args:
            path: the file.
            own_random_numbers: whether those of torch, numpy and Python are kept apart from the trainer's, as they are
                in two processes; it takes a tenth of a millisecond a call.

        Raises:
            AttributeError: it lacks one of the two functions. Besides, whatever its import raises.
        """
        self._apart = own_random_numbers
        self._side = CandidateSide(path.parent, path.name)
        self._random = _random_states()

    def begin(self, seed: int) -> None:
        """As `Algorithm.begin`."""
        with self._own_random_numbers():
            self._side.begin(seed)

    def advantages(self, batch: Arrays) -> np.ndarray:
        """As `Algorithm.advantages`."""
        arrays = batch_arrays(batch)
        with self._own_random_numbers():
            return checked_advantages(self._side.compute_advantages(**_copies(arrays)), arrays["mask"])

    def loss(
        self,
        logp: np.ndarray,
        old_logp: np.ndarray,
        ref_logp: np.ndarray,
        advantages: np.ndarray,
        mask: np.ndarray,
        info: Arrays,
    ) -> Answer:
        """As `Algorithm.loss`."""
        arrays = loss_arrays(logp, old_logp, ref_logp, advantages, mask, info)
        with self._own_random_numbers():
            return checked_loss(self._side.policy_loss(**_copies(arrays)), arrays["mask"])

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        if not self._apart:
            yield
            return
        trainers = _random_states()
        _set_random_states(self._random)
        try:
            yield
        finally:
            self._random = _random_states()
            _set_random_states(trainers)


def _copies(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What it changes in place, the trainer keeps as it was."""
    return {name: array.copy() for name, array in arrays.items()}


def _random_states() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _set_random_states(states: tuple[Any, Any, torch.Tensor]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
