"""Held-out answers against logits: losses, accuracy, whether twins are answered alike, whether claims are borne out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from judging.forms import Refusal

TWINS_ALIKE = {"fp32": 1e-3, "bf16": 3e-2}
"""Largest difference between the logits of twins, over their spread; see `Audit.twin_gap`.

Honest models in fp32 stay under 1e-5. The precision is a claim: who lies about it gains 3e-2, some eight roundings of
bf16, and no answer stands where that little could be seen.
"""

CLAIM_DEVIATIONS, CLAIM_MARGIN = 6.0, 0.1
"""A claim may differ from the audit by so many standard errors of their difference and so many nats."""

TEXT_FACTOR, TEXT_MARGIN = 3.0, 1.0
"""For text the audit may be so many times the claim and so many nats more: training asks about text that it learns
from, and may have learnt by heart. And the other way round: held-out text of a user may be easier."""

AT_ONCE = 1 << 22
"""Numbers that are worked on at a time, in float64."""


class Hidden(NamedTuple):
    """What the generator left for the evaluator; see tasks/questions.py."""

    labels: np.ndarray
    weights: np.ndarray
    pairs: np.ndarray
    vocabulary: int
    bytes_per_token: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the logits."""
        return *self.labels.shape, self.vocabulary


class Audit(NamedTuple):
    """Of one task at one checkpoint."""

    loss: float
    """Mean over the questions, in nats."""
    standard_error: float
    """Of the loss, with rows as the units."""
    accuracy: float
    twin_gap: float
    """Largest difference of logits within pairs, over the spread of the logits."""


def read_hidden(path: Path) -> Hidden:
    """The answers of one task; a trusted file."""
    with np.load(path, allow_pickle=False) as arrays:
        return Hidden(
            arrays["labels"],
            arrays["weights"],
            arrays["pairs"],
            int(arrays["vocabulary"]),
            float(arrays["bytes_per_token"]),
        )


def audit(logits: np.ndarray, hidden: Hidden) -> Audit:
    """Judge float32 logits (rows, questions, vocabulary), which are finite."""
    rows = hidden.labels.shape[0]
    losses, right = np.empty(hidden.labels.shape), np.empty(hidden.labels.shape)
    step = max(1, AT_ONCE // (hidden.shape[1] * hidden.vocabulary))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        losses[part], right[part] = _losses(logits[part], hidden.labels[part])
    total = hidden.weights.sum()
    loss = float((losses * hidden.weights).sum() / total)
    # Questions of a row hang together, so that rows are what varies independently.
    by_row = ((losses - loss) * hidden.weights).sum(1)
    standard_error = float(np.sqrt((by_row**2).sum()) / total)
    return Audit(loss, standard_error, float((right * hidden.weights).sum() / total), _twin_gap(logits, hidden.pairs))


def _losses(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross entropy in nats and whether the label is the one largest logit, each (rows, questions).

    log softmax(z)[y] = (z_y - max z) - log sum exp(z - max z): nothing overflows in float64, whatever float32 holds. A
    tie is no right answer: a model that says the same for all tokens knows nothing.
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    at_label = np.take_along_axis(shifted, labels[..., None], -1)[..., 0]
    alone = (shifted == 0).sum(axis=-1) == 1
    return np.log(np.exp(shifted).sum(axis=-1)) - at_label, (at_label == 0) & alone


def _twin_gap(logits: np.ndarray, pairs: np.ndarray) -> float:
    """Differences are of logits up to a constant, since softmax does not see one: each row of logits is centred."""
    worst = 0.0
    step = max(1, AT_ONCE // logits.shape[-1])
    for start in range(0, len(pairs), step):
        row, question, other_row, other_question = pairs[start : start + step].T
        here = logits[row, question].astype(np.float64)
        there = logits[other_row, other_question].astype(np.float64)
        here -= here.mean(axis=-1, keepdims=True)
        there -= there.mean(axis=-1, keepdims=True)
        spread = np.maximum(np.abs(here).max(axis=-1), np.abs(there).max(axis=-1))
        worst = max(worst, float((np.abs(here - there).max(axis=-1) / np.maximum(spread, 1.0)).max()))
    return worst


def check_twins(name: str, audited: Audit, precision: str) -> None:
    """Raises Refusal where the model answered twins differently."""
    if audited.twin_gap > TWINS_ALIKE[precision]:
        raise Refusal(
            f"causality: Expected the same logits for rows that are the same up to the question, but those of {name} "
            f"differ by {audited.twin_gap:.2g} of their spread; {TWINS_ALIKE[precision]:g} is allowed. The trained "
            "model looks ahead or across the batch, or its answers change from call to call."
        )


def check_claim(name: str, audited: Audit, claimed: float, is_text: bool) -> None:
    """Raises Refusal where the model does not have the loss that the training process claimed.

    A model that answers better than it was trained to has been given the answers by something else: what computes them
    where the questions are (rows of tokens, with plain code) has to be in the fit too, and then it is in its claim.
    """
    # The claim is a mean over questions too, of about as many, with about the same deviation.
    noise = CLAIM_DEVIATIONS * math.sqrt(2) * audited.standard_error
    allowed, least = claimed + CLAIM_MARGIN, claimed - CLAIM_MARGIN
    if is_text:
        allowed, least = TEXT_FACTOR * claimed + TEXT_MARGIN, (claimed - TEXT_MARGIN) / TEXT_FACTOR
    if audited.loss < least - noise:
        raise Refusal(
            f"audit: Expected a loss of about {claimed:.4g} nats, as training reported for {name}, but on held-out "
            f"questions the model has {audited.loss:.4g} +- {audited.standard_error:.2g}. It knew answers there that "
            "it did not know in training."
        )
    if audited.loss > allowed + noise:
        raise Refusal(
            f"audit: Expected a loss of about {claimed:.4g} nats, as training reported for {name}, but on held-out "
            f"questions the model has {audited.loss:.4g} +- {audited.standard_error:.2g}. It knew answers in training "
            "that it has no way to know here."
        )
