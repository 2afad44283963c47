"""When a candidate is nearly an earlier one: nothing differs but a few numbers, names, annotations, the order of
definitions, or code that nothing calls. A changed operator, call, attribute or string is a changed step.

The bounds come from the pairs in `tests/evolution/test_nearness.py`: real improvements of a packing program, of
which the smallest changes thirteen tokens that do something, and mutations that change nothing of note.
"""

from __future__ import annotations

from typing import Literal

from .likeness import Comparison

Verdict = Literal["exact", "renamed", "near"]
FEW_NUMBERS = 5
"""So many other numbers are a tuning. A table of other coordinates is another solution."""
FEW_STEPS = 8
"""So many changed tokens that do something are a variation where the motivation is the same too."""
SAME_FORM = 0.8
"""Share of equal shingles, numbers and names left aside, from which programs with the same steps are nearly equal."""
SAME_MOTIVATION = 0.8
"""Share of equal pairs of words, or cosine of the embeddings, whichever is larger."""


def nearly_equal(found: Comparison, motivation: float = 0.0) -> bool:
    """Whether a candidate is nearly an earlier one.

    Args:
        motivation: likeness of the two motivations, 0 to 1.
    """
    if not found.complete or found.rewired or found.form < SAME_FORM or found.numbers_changed > FEW_NUMBERS:
        return False
    return found.steps == 0 or (found.steps <= FEW_STEPS and motivation >= SAME_MOTIVATION)


def motivation_decides(found: Comparison) -> bool:
    """Whether the likeness of the motivations makes the difference."""
    return not nearly_equal(found) and nearly_equal(found, 1.0)
