"""Malformed outputs for `check-domain`: what a hostile candidate could leave in place of each file of an honest run."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from .contract import OutputSpec

MAX_HUGE_BYTES = 16_000_000
"""Bound of the largest file that is made, where a domain allows more."""
SCALES = (1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-3)
"""Relative amounts by which honest numbers are moved, to find a tolerance that can be had as gain."""

Kind = Literal["arrays", "json", "numbers", "text", "bytes"]


class Expectation(Enum):
    """What must come of a malformed output. An evaluator that fails or hangs is wrong whatever was expected."""

    REFUSED = "refused"
    """Any score is a hole: not a finite number, or not the form of an output."""
    NO_GAIN = "no gain"
    """Garbage that may happen to have a meaning: a score better than the honest run's is a hole."""
    PLAUSIBLE = "plausible"
    """Numbers that an honest candidate could return: a better score is worth a look, no more."""


@dataclass(frozen=True)
class Nudge:
    """One step of a series: every number times `1 + amount`."""

    series: str
    amount: float


@dataclass(frozen=True)
class Mutant:
    """An honest set of outputs with one file changed."""

    name: str
    file: str
    expectation: Expectation
    make: Callable[[], bytes | None]
    """Content of the file; `None` where there shall be none. Made when it is needed: they may be large."""
    nudge: Nudge | None = None


def mutants(outputs: Mapping[str, OutputSpec], honest: Mapping[str, bytes]) -> Iterator[Mutant]:
    """Every malformed output, derived from those of an honest run.

    Args:
        honest: content by file; an output that the run did not leave is left alone.
    """
    for output in outputs.values():
        if output.file in honest:
            yield from _of_file(output, honest[output.file])


def kind_of(output: OutputSpec, data: bytes) -> Kind:
    """What a file holds, told from its declaration first and from its content second."""
    if output.arrays is not None or (data[:2] == b"PK" and output.file.endswith(".npz")):
        return "arrays"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes"
    if "\0" in text:
        return "bytes"
    if _is_json(text) and (output.file.endswith(".json") or text.lstrip()[:1] in ("{", "[")):
        return "json"
    return "numbers" if only_numbers(text) else "text"


def _is_json(text: str | bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


_SEPARATORS = re.compile(r"[\s,;]+")


def only_numbers(text: str) -> bool:
    """Whether a text is a table of numbers, with at most one line of titles above."""
    _, _, body = text.strip().partition("\n")
    return any(part.strip() and all(map(_is_number, _SEPARATORS.split(part.strip(" \n,;")))) for part in (text, body))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _of_file(output: OutputSpec, data: bytes) -> Iterator[Mutant]:
    from .fuzzing_arrays import array_mutants  # loads numpy
    from .fuzzing_text import json_mutants, number_mutants

    kind = kind_of(output, data)
    yield from _raw_mutants(output, data, kind)
    if kind == "arrays":
        yield from array_mutants(output, data)
    elif kind == "json":
        yield from json_mutants(output, data.decode("utf-8"))
    elif kind == "numbers":
        yield from number_mutants(output, data.decode("utf-8"))


def _raw_mutants(output: OutputSpec, data: bytes, kind: Kind) -> Iterator[Mutant]:
    """What can be done to a file whatever it holds."""
    # Bytes without a known form, and the first half of a text, may be an output like any other.
    garbage = Expectation.NO_GAIN if kind == "bytes" else Expectation.REFUSED
    half = Expectation.REFUSED if kind in ("arrays", "json") else Expectation.NO_GAIN

    def mutant(name: str, expectation: Expectation, make: Callable[[], bytes | None]) -> Mutant:
        return Mutant(f"{output.file}: {name}", output.file, expectation, make)

    yield mutant("missing", Expectation.REFUSED if output.required else Expectation.PLAUSIBLE, lambda: None)
    if not data:
        return
    yield mutant("empty", Expectation.REFUSED, lambda: b"")
    cut = _cut(data, kind)
    if cut is not None:
        yield mutant("cut off", half, lambda: cut)
    yield mutant("random bytes", garbage, lambda: _noise(len(data)))
    yield mutant("NUL bytes", garbage, lambda: bytes(len(data)))
    size = min(output.max_bytes, MAX_HUGE_BYTES)
    if size > len(data):
        yield mutant(f"{size} random bytes", garbage, lambda: _noise(size))


def _cut(data: bytes, kind: Kind) -> bytes | None:
    """The first half, or less where half of it is whole again (`[1]` of `[1] `, `4` of `42`)."""
    for length in (len(data) // 2, len(data) // 3, 1):
        if 0 < length < len(data) and not (kind == "json" and _is_json(data[:length])):
            return data[:length]
    return None


def _noise(size: int) -> bytes:
    """The same bytes every time, and never text."""
    return b"\xff" + random.Random(size).randbytes(size - 1)  # noqa: S311 -- to be repeated, not to be secret
