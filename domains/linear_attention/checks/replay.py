"""Does what a mixer saw in earlier calls come back?

A mixer that keeps its inputs could answer a question from the time that it saw the rest of the window, and one that
keeps its answers looks fast. A long-lived store that is filled in training and asked much later is not found here.
"""

from __future__ import annotations

from checks.causality import NOISY
from checks.cost import work_of
from checks.finding import Failed, Finding
from checks.subject import Condition, Subject, difference

REPLAYED = 0.5
"""A second call with the same input that takes less than this share of the work of one with a new input remembers."""


def check_replay(subject: Subject) -> Finding:
    """What a mixer saw in earlier calls must not come back.

    In evaluation mode the answer may not depend on the contents of earlier calls; in training mode that is a warning,
    since honest mixers keep moving averages. In both, a second call with the same input has to take the work of the
    first.
    """
    for condition in NOISY:
        _refuse_remembered_answers(subject, condition)
    notes = [_history(subject, condition) for condition in NOISY] + [_same_twice(subject, NOISY[1])]
    notes = [note for note in notes if note]
    if notes:
        return Finding("replay", "warning", None, subject.tolerance, " ".join(notes))
    return Finding("replay", "passed", 0.0, subject.tolerance, "Earlier calls leave no trace in the answers.")


def _refuse_remembered_answers(subject: Subject, condition: Condition) -> None:
    first, second, third = (subject.inputs(2, 64, condition, salt) for salt in (6, 7, 8))
    module = subject.fresh(condition)
    subject.answer(module, first, "replay")  # caches by shape are honest: they are warm now
    subject.answer(module, second, "replay")
    new = work_of(lambda: subject.answer(module, third, "replay"))
    last = work_of(lambda: subject.answer(module, third, "replay"))
    same = min(last, work_of(lambda: subject.answer(module, second, "replay")))
    if same < REPLAYED * new:
        raise Failed(
            "replay",
            f"Expected every call to be computed, but a second one with the same input took {same / new:.0%} of the "
            f"work of a new one ({condition}). Keep no answers.",
            same / new,
            REPLAYED,
        )


def _history(subject: Subject, condition: Condition) -> str:
    """Compares the answer after a call with the same beginning to that after a call with nothing in common."""
    seen, unrelated, future = (subject.inputs(2, 64, condition, salt) for salt in (9, 10, 11))
    asked = seen.clone()
    asked[:, 40:] = future[:, 40:]
    answers = []
    for earlier in (seen, unrelated):
        module = subject.fresh(condition)
        subject.answer(module, earlier, "replay")
        answers.append(subject.answer(module, asked, "replay"))
    size = difference(*answers)
    if size <= subject.tolerance:
        return ""
    if condition.training:
        return f"In training mode answers depend on earlier calls (by {size:.1e}), as those of moving averages do."
    raise Failed(
        "replay",
        f"Expected an answer in evaluation mode to depend on its input alone, but another earlier call moved it by "
        f"{size:.1e} of its size. Carry nothing from call to call but step counters in training mode.",
        size,
        subject.tolerance,
    )


def _same_twice(subject: Subject, condition: Condition) -> str:
    x = subject.inputs(2, 64, condition, 12)
    module = subject.fresh(condition)
    size = difference(subject.answer(module, x, "replay"), subject.answer(module, x, "replay"))
    return (
        f"In training mode the same input twice differs by {size:.1e}: a step counter?"
        if size > subject.tolerance
        else ""
    )
