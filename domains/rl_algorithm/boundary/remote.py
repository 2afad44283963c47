"""The algorithm of a candidate in another process, over the channel: what every experiment trains with.

Only numbers go over: log-probabilities, rewards, masks. Parameters, optimiser, prompts, answers and verifier stay on
this side. Whatever the candidate does ends in an answer that was checked or in a `channel.CandidateFault`, which,
left uncaught, ends the experiment as the candidate's error. The trainer needs JOB/channel on sys.path.
"""

from __future__ import annotations

import math
import time

import channel  # pyright: ignore[reportMissingImports] -- laid beside the trainer by the sandbox
import numpy as np
from training.algorithm import Answer, Refused

from boundary.checking import Arrays, batch_arrays, checked_advantages, checked_loss, loss_arrays

START_SECONDS = 120.0
"""Wall time for the import of torch and of the candidate on a busy machine."""
CALL_SECONDS = 30.0
"""Wall time of one call; an honest one takes some milliseconds."""


class RemoteAlgorithm:
    """Calls go out one at a time. `calls` and `seconds` say what they have cost so far, in wall time."""

    def __init__(
        self,
        *,
        call_seconds: float = CALL_SECONDS,
        seconds_in_all: float = math.inf,
        start_seconds: float = START_SECONDS,
    ) -> None:
        """Wait until the candidate is imported.

        Args:
            call_seconds: wall time of a call.
            seconds_in_all: wall time of all calls together; the sandbox bounds CPU time by itself, so this is for
                candidates that wait.

        Raises:
            channel.CandidateFault: its import failed, a function is missing, or it was not ready in time.
        """
        self.calls = 0
        self.seconds = 0.0
        self._call_seconds = call_seconds
        self._seconds_in_all = seconds_in_all
        self._candidate = channel.Candidate(timeout=start_seconds)

    def begin(self, seed: int) -> None:
        """As `Algorithm.begin`."""
        self._call("begin", {"seed": np.int64(seed)})

    def advantages(self, batch: Arrays) -> np.ndarray:
        """As `Algorithm.advantages`."""
        arrays = batch_arrays(batch)
        answer = self._call("compute_advantages", arrays)
        try:
            return checked_advantages(answer, arrays["mask"])
        except Refused as refused:
            raise channel.CandidateFailed(str(refused)) from refused

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
        answer = self._call("policy_loss", arrays)
        try:
            return checked_loss(answer, arrays["mask"])
        except Refused as refused:
            raise channel.CandidateFailed(str(refused)) from refused

    def _call(self, function: str, arrays: Arrays) -> dict[str, np.ndarray]:
        """One call within what is left of the time."""
        began = time.monotonic()
        try:
            answer: dict[str, np.ndarray] = self._candidate.call(function, arrays, timeout=self._call_seconds)
        except channel.CandidateHung as error:
            raise channel.CandidateHung(
                f"Expected the candidate to answer {function} within {self._call_seconds:g} s, but it has not; it was "
                f"call {self.calls + 1}."
            ) from error
        finally:
            self.calls += 1
            self.seconds += time.monotonic() - began
        if self.seconds > self._seconds_in_all:
            raise channel.CandidateHung(
                f"Expected the candidate to take at most {self._seconds_in_all:g} s for all its calls together, but "
                f"after {self.calls} calls it has taken {self.seconds:.1f} s."
            )
        return answer
