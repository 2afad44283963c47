"""What a check says about a candidate, and how foreign code is called so that its failures become such a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

from skeleton.mixers import Refused

Verdict = Literal["passed", "warning", "flagged", "refused"]
Answer = TypeVar("Answer")

LONGEST_MESSAGE = 300
"""Characters that are kept of a candidate's own words."""


class Finding(NamedTuple):
    """The result of one check.

    `passed`; `warning`: nothing wrong, but the Researcher will want to know; `flagged`: allowed, and likely too slow or
    not what it says; `refused`: not trained. `value` and `limit` are in the unit that the sentence names, or None.
    """

    check: str
    verdict: Verdict
    value: float | None
    limit: float | None
    sentence: str


class Failed(Refused):
    """A refusal with the figure that it rests on."""

    def __init__(self, check: str, sentence: str, value: float | None = None, limit: float | None = None) -> None:
        super().__init__(check, sentence)
        self.value = value
        self.limit = limit


def refusal(refused: Refused) -> Finding:
    """The finding that a refusal comes to."""
    value, limit = getattr(refused, "value", None), getattr(refused, "limit", None)
    return Finding(refused.check, "refused", value, limit, refused.sentence)


def attempt(check: str, doing: str, call: Callable[[], Answer]) -> Answer:
    """`call()`, which runs the candidate; whatever it raises is raised as Refused(check, ...).

    `doing` continues the sentence "Expected ... , but", such as "a forward pass at length 33".
    """
    try:
        return call()
    except Refused:
        raise
    except (Exception, SystemExit) as error:
        raise Failed(check, f"Expected {doing}, but got {words_of(error)}.") from error


def words_of(error: BaseException) -> str:
    """Type and first words of an exception; its own text may be anything, or raise."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a candidate's exception can have a __str__ that raises
        text = ""
    name = type(error).__name__
    return f"{name}: {text[:LONGEST_MESSAGE].rstrip('.')}" if text else name
