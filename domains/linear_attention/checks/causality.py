"""Does a mixer look ahead, or across the batch? Found by changing what it must not see.

Gradients alone miss leaks that are detached or go through argmax; shorter prefixes alone miss leaks in training mode.
So inputs are changed, and outputs compared, in evaluation and training mode, with initial and noisy weights, at
several lengths, batches and input sizes. What a candidate does only under other conditions (another length, after 500
steps) is not found here: the evaluator's audit of trained models in another process is what scores stand on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from checks.finding import Failed, Finding
from checks.subject import Array, Condition, Subject, difference

CONDITIONS = [
    Condition(noisy, training, scale) for noisy, training, scale in product((False, True), (False, True), (1.0, 100.0))
]
NOISY = [Condition(noisy=True, training=training) for training in (False, True)]

NOT_REPEATABLE = 0.05
"""Where the same run differs by more than this share of what a changed future does, it is no evidence of a leak."""


Part = list[int] | tuple[slice, slice]
"""Which items and positions of an answer."""


class Leak(NamedTuple):
    """How much an output moved, and where."""

    size: float
    where: str


def positions(length: int) -> list[int]:
    """First positions of a changed future: the ends, thirds, the middle, and around a block of 32."""
    return sorted({1, length // 3, length // 2, length // 2 + 1, 31, 32, 33, length - 1} & set(range(1, length)))


def check_causality(subject: Subject, shapes: Sequence[tuple[int, int]] = ()) -> Finding:
    """Outputs before t must not change with the inputs from t on.

    Lengths 64 and 130 in all conditions at the `positions`; every t at once, one per item of a batch; a batch of 16;
    small inputs; 600 tokens, for what begins behind a border of a large block; and the (batch, length) of training.
    """
    runs: list[tuple[Condition, int, int, list[int]]] = []
    runs += [(condition, 2, 64, positions(64)) for condition in CONDITIONS]
    runs += [(condition, 1, 130, positions(130)) for condition in CONDITIONS]
    runs += [(condition, 16, 64, [32, 63]) for condition in NOISY]
    runs += [(condition._replace(scale=0.01), 2, 64, [1, 32, 63]) for condition in NOISY]
    for batch, length in [(1, 600), *shapes]:
        runs += [(condition, batch, length, sorted({1, length // 2, length - 1})) for condition in NOISY]
    worst, silent = Leak(0.0, "nowhere"), 0
    for condition, batch, length, starts in runs:
        worst, judged = _worst_of(worst, subject, condition, batch, length, starts)
        silent += not judged
    for condition, length in ((NOISY[0], 64), (NOISY[1], 64), (NOISY[0], 130)):
        worst = max(worst, _sweep(subject, condition, length))
    note = f" In {silent} of {len(runs)} conditions there was nothing to compare: zeros, or no finite numbers."
    return Finding(
        "causality",
        "warning" if 2 * silent > len(runs) else "passed",
        worst.size,
        subject.tolerance,
        f"A changed future moves earlier outputs by at most {worst.size:.1e}, which is "
        f"rounding.{note if silent else ''}",
    )


def _worst_of(
    worst: Leak, subject: Subject, condition: Condition, batch: int, length: int, starts: list[int]
) -> tuple[Leak, bool]:
    """The larger of `worst` and what these runs show, and whether there were any finite numbers; raises at a leak."""
    x, other = (subject.inputs(batch, length, condition, salt) for salt in (0, 1))
    base = subject.fresh_answer(x, condition, "causality")
    for start in starts:
        changed = x.clone()
        changed[:, start:] = other[:, start:]
        answer = subject.fresh_answer(changed, condition, "causality")
        where = f"position {start} of {length}, batch {batch}, {condition}"
        leak = Leak(difference(base[:, :start], answer[:, :start]), where)
        if leak.size > subject.tolerance:
            _refuse_if_repeatable(subject, x, condition, base, start, leak)
        else:
            worst = max(worst, leak)
    return worst, difference(base, -base) > 0


def _sweep(subject: Subject, condition: Condition, length: int) -> Leak:
    """All positions in one batch: item k - 1 has another future from k on."""
    x, other = (subject.inputs(1, length, condition, salt) for salt in (2, 3))
    base = x.expand(length - 1, -1, -1).clone()
    changed = base.clone()
    for item in range(length - 1):
        changed[item, item + 1 :] = other[0, item + 1 :]
    before = subject.fresh_answer(base, condition, "causality")
    after = subject.fresh_answer(changed, condition, "causality")
    leaks = [
        Leak(difference(before[item, : item + 1], after[item, : item + 1]), f"all positions of {length}, {condition}")
        for item in range(length - 1)
    ]
    worst = max(leaks)
    if worst.size > subject.tolerance:  # once more with one change for all items, or mixed items would look like a leak
        start = 1 + leaks.index(worst)
        return _worst_of(Leak(0.0, "nowhere"), subject, condition, length - 1, length, [start])[0]
    return worst


def check_object(subject: Subject, module: nn.Module) -> None:
    """The same on one trained object, as it is, in evaluation mode: for what only it remembers. Raises at a leak."""
    was_training = module.training
    module.eval()
    x, other = (subject.inputs(2, 64, salt=salt) for salt in (17, 18))
    before = subject.answer(module, x, "causality")
    for start in positions(64):
        changed = x.clone()
        changed[:, start:] = other[:, start:]
        leak = difference(before[:, :start], subject.answer(module, changed, "causality")[:, :start])
        if leak <= subject.tolerance:
            continue
        again = subject.answer(module, x, "causality")
        if difference(before[:, :start], again[:, :start]) <= NOT_REPEATABLE * leak:
            raise Failed(
                "causality",
                f"Expected outputs to depend on earlier tokens alone, but they changed by {leak:.1e} of their size "
                f"when only tokens from position {start} of 64 on did.",
                leak,
                subject.tolerance,
            )
    module.train(was_training)


def _refuse_if_repeatable(
    subject: Subject, x: Tensor, condition: Condition, base: Array, start: int, leak: Leak
) -> None:
    """Raises for the leak, unless numbers that no seed reaches explain it."""
    if _repeatable(subject, x, condition, base, np.s_[:, :start], leak.size):
        raise Failed(
            "causality",
            f"Expected outputs to depend on earlier tokens alone, but they changed by {leak.size:.1e} of their size "
            f"when only later tokens did, from {leak.where}. Look for statistics, sorting, norms, attention or "
            "shifts over time without a causal mask.",
            leak.size,
            subject.tolerance,
        )


def _repeatable(subject: Subject, x: Tensor, condition: Condition, base: Array, part: Part, size: float) -> bool:
    """Whether the very same run gives the same answer again; raises where it does not in evaluation mode.

    Asked of the `part` that moved by `size`, since a difference is relative to the largest number of what is compared.
    """
    again = difference(base[part], subject.fresh_answer(x, condition, "replay")[part])
    if again <= NOT_REPEATABLE * size:
        return True
    if condition.training:
        return False
    raise Failed(
        "replay",
        f"Expected the same answer from two mixers with the same weights, seed and input, but they differ by "
        f"{again:.1e} of their size ({condition}). Draw random numbers from torch's default generator, and in "
        f"training mode only.",
        again,
        subject.tolerance,
    )


def check_batch(subject: Subject) -> Finding:
    """A changed item of a batch must not move the others."""
    worst = 0.0
    for condition, (batch, length) in product(CONDITIONS, ((5, 33), (16, 64))):
        x, other = (subject.inputs(batch, length, condition, salt) for salt in (4, 5))
        base = subject.fresh_answer(x, condition, "batch")
        changed = x.clone()
        changed[batch // 2] = other[batch // 2]
        answer = subject.fresh_answer(changed, condition, "batch")
        rest = [item for item in range(batch) if item != batch // 2]
        size = difference(base[rest], answer[rest])
        if size > subject.tolerance:
            if not _repeatable(subject, x, condition, base, rest, size):
                continue
            raise Failed(
                "batch",
                f"Expected the items of a batch to be independent, but one moved the others by {size:.1e} of their "
                f"size (batch {batch}, length {length}, {condition}). Take statistics within an item, and up to each "
                f"position.",
                size,
                subject.tolerance,
            )
        worst = max(worst, size)
    sentence = f"A changed item moves the others by at most {worst:.1e}, which is rounding."
    return Finding("batch", "passed", worst, subject.tolerance, sentence)
