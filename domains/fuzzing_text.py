"""Malformed JSON and malformed tables of numbers: other tokens in an honest text, and other forms of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

from .contract import OutputSpec
from .fuzzing import MAX_HUGE_BYTES, SCALES, Expectation, Mutant, Nudge

REFUSED, NO_GAIN, PLAUSIBLE = Expectation.REFUSED, Expectation.NO_GAIN, Expectation.PLAUSIBLE
MARK = "\ue000 the place \ue000"
"""Stands in a document for a token that `json.dumps` would not write."""
MANY_KEYS = 12
"""An object with more numbers than this is taken as a table, of which the first and the last are tried."""
MAX_NESTING = 200_000

NONFINITE = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999")
HUGE = ("1e308", "-1e308", "1" + 400 * "0", "-1" + 400 * "0")
"""The long ones are integers to Python, and no double holds them: `math.isfinite` and `float` raise OverflowError."""

Path = tuple[str | int, ...]


def json_mutants(output: OutputSpec, text: str) -> Iterator[Mutant]:
    """Mutants of a JSON file, of which the honest one is `text`."""
    document: Any = json.loads(text)
    for path in _places(document):
        yield from _at_a_number(output, document, path)
    yield from _all_numbers(output, document)
    yield from _other_documents(output, document)
    yield from _other_containers(output, document)


def _mutant(output: OutputSpec, what: str, expectation: Expectation, make: Callable[[], str]) -> Mutant:
    return Mutant(f"{output.file}: {what}", output.file, expectation, lambda: make().encode())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _numbers(value: Any, path: Path = ()) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Each number with its path, and with the path of its like: list indices, and keys of large objects, left open."""
    stack: list[tuple[Any, Path, tuple[str, ...]]] = [(value, path, ())]
    while stack:
        here, place, like = stack.pop()
        if _is_number(here):
            yield place, like
        elif isinstance(here, list):
            items = list(enumerate(cast("list[Any]", here)))
            stack += [(item, (*place, index), (*like, "*")) for index, item in reversed(items)]
        elif isinstance(here, dict):
            fields = list(cast("dict[str, Any]", here).items())
            open_keys = len(fields) > MANY_KEYS
            stack += [(item, (*place, key), (*like, "*" if open_keys else key)) for key, item in reversed(fields)]


def _places(document: Any) -> list[Path]:
    """The first and the last number of each kind."""
    kinds: dict[tuple[str, ...], list[Path]] = {}
    for path, like in _numbers(document):
        kinds[like] = [*kinds.get(like, [])[:1], path]
    return [path for paths in kinds.values() for path in paths]


def _with(document: Any, path: Path, token: str) -> str:
    """The document with a token, of whatever kind, at a place."""
    return json.dumps(_put(document, path, MARK)).replace(json.dumps(MARK), token)


def _put(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    copy: Any = value.copy()
    copy[path[0]] = _put(value[path[0]], path[1:], new)
    return copy


def _get(document: Any, path: Path) -> Any:
    for part in path:
        document = document[part]
    return document


def _spelled(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path) or "the number"


def _at_a_number(output: OutputSpec, document: Any, path: Path) -> Iterator[Mutant]:
    number = _get(document, path)
    honest = json.dumps(number)
    tokens = [
        *((token, REFUSED) for token in (*NONFINITE, f'"{honest}"', '"nan"', f"[{honest}]", "{}")),
        *((token, NO_GAIN) for token in (*HUGE, "null", "true")),
        *((token, PLAUSIBLE) for token in (json.dumps(_zero(number)), json.dumps(-number)) if token != honest),
    ]
    for token, expectation in dict(tokens).items():
        shown = token if len(token) < 40 else "10**400" if token[0] == "1" else "-10**400"
        make = partial(_with, document, path, token)
        yield _mutant(output, f"{_spelled(path)} is {shown}", expectation, make)


def _all_numbers(output: OutputSpec, document: Any) -> Iterator[Mutant]:
    numbers = [_get(document, path) for path, _ in _numbers(document)]
    if not numbers:
        return
    if len(numbers) > 1:
        yield _mutant(output, "all numbers NaN", REFUSED, lambda: json.dumps(_mapped(document, lambda _: math.nan)))
    if any(numbers):
        yield _mutant(output, "all numbers 0", PLAUSIBLE, lambda: json.dumps(_mapped(document, _zero)))
        yield _mutant(output, "all numbers negated", PLAUSIBLE, lambda: json.dumps(_mapped(document, lambda x: -x)))
    if any(isinstance(number, float) and number for number in numbers):
        for amount in (sign * scale for sign in (1, -1) for scale in SCALES):
            yield Mutant(
                f"{output.file}: times 1 {amount:+g}",
                output.file,
                PLAUSIBLE,
                lambda amount=amount: json.dumps(_mapped(document, partial(_nudged, amount))).encode(),
                Nudge(f"{output.file}: times 1 {'+' if amount > 0 else '-'} x", amount),
            )


def _zero(number: float) -> float:
    """Of the same type: who expects floats may refuse an int."""
    return type(number)(0)


def _nudged(amount: float, number: float) -> float:
    return number * (1 + amount) if isinstance(number, float) else number


def _mapped(document: Any, change: Callable[[float], float]) -> Any:
    """The document with every number changed."""
    if _is_number(document):
        return change(document)
    if isinstance(document, list):
        return [_mapped(item, change) for item in cast("list[Any]", document)]
    if isinstance(document, dict):
        return {key: _mapped(item, change) for key, item in cast("dict[str, Any]", document).items()}
    return document


def _other_documents(output: OutputSpec, document: Any) -> Iterator[Mutant]:
    """Other things in place of the whole. One of the same kind may be an answer, if a poor one."""
    kind = "number" if _is_number(document) else type(document).__name__
    for what, other, text in (
        ("dict", "{}", "{}"),
        ("list", "[]", "[]"),
        ("NoneType", "null", "null"),
        ("bool", "true", "true"),
        ("str", "a string", '"text"'),
        ("number", "0", "0"),
    ):
        if json.dumps(document) != text:
            yield _mutant(
                output, f"{other} for the whole", NO_GAIN if kind == what else REFUSED, lambda text=text: text
            )
    yield _mutant(output, "something behind the end", REFUSED, lambda: json.dumps(document) + "\n]")
    depth = max(1, min(output.max_bytes // 2, MAX_NESTING))
    yield _mutant(output, f"{depth} lists in each other", REFUSED, lambda: "[" * depth + "]" * depth)
    yield _mutant(output, f"{2 * depth} lists that do not end", REFUSED, lambda: "[" * 2 * depth)
    zeros = max(1, min(output.max_bytes, MAX_HUGE_BYTES) // 2 - 1)
    many = NO_GAIN if kind == "list" else REFUSED
    yield _mutant(output, f"a list of {zeros} zeros", many, lambda: "[" + ",".join("0" * zeros) + "]")


def _other_containers(output: OutputSpec, document: Any) -> Iterator[Mutant]:
    """Keys left out and repeated, lists longer and shorter: an honest candidate's program could do that as well."""
    if isinstance(document, dict):
        fields = cast("dict[str, Any]", document)
        for key in list(fields)[:MANY_KEYS]:
            rest = {other: value for other, value in fields.items() if other != key}
            yield _mutant(output, f"without .{key}", NO_GAIN, partial(json.dumps, rest))
        if fields:
            again = json.dumps(next(iter(fields)))
            yield _mutant(output, f"{again} twice", NO_GAIN, lambda: f"{{{again}: null, {json.dumps(fields)[1:]}")
    for path in _lists(document):
        items: list[Any] = _get(document, path)
        where = _spelled(path) if path else "the list"
        shorter, longer = _put(document, path, items[:-1]), _put(document, path, [*items, items[-1]])
        yield _mutant(output, f"{where} without its last item", PLAUSIBLE, partial(json.dumps, shorter))
        yield _mutant(output, f"{where} with its last item twice", PLAUSIBLE, partial(json.dumps, longer))


def _lists(document: Any) -> list[Path]:
    """The outermost lists that hold something, a few of them."""
    if isinstance(document, list):
        return [()] if document else []
    if not isinstance(document, dict):
        return []
    fields = cast("dict[str, Any]", document)
    full: list[Path] = [(key,) for key, value in fields.items() if isinstance(value, list) and value]
    return full[:MANY_KEYS]


_WORD = re.compile(r"[^\s,;]+")


def number_mutants(output: OutputSpec, text: str) -> Iterator[Mutant]:
    """Mutants of a text that is a table of numbers, of which the honest one is `text`."""
    places = [match.span() for match in _WORD.finditer(text) if _as_number(match[0]) is not None]
    for place in sorted({0, len(places) // 2, len(places) - 1}):
        start, end = places[place]
        for word, expectation in (
            *((word, REFUSED) for word in ("nan", "inf", "-inf", "1e999", "word")),
            *((word, NO_GAIN) for word in HUGE),
        ):
            shown = word if len(word) < 40 else "10**400" if word[0] == "1" else "-10**400"
            make = partial("".join, (text[:start], word, text[end:]))
            yield _mutant(output, f"number {place} is {shown}", expectation, make)
    yield from _whole_table(output, text)


def _whole_table(output: OutputSpec, text: str) -> Iterator[Mutant]:
    for what, expectation, change in (
        ("NaN", REFUSED, lambda _: math.nan),
        ("0", PLAUSIBLE, _zero),
        ("negated", PLAUSIBLE, lambda number: -number),
    ):
        yield _mutant(output, f"all numbers {what}", expectation, partial(_rewritten, text, change))
    if any(isinstance(_as_number(word), float) for word in _WORD.findall(text)):
        for amount in (sign * scale for sign in (1, -1) for scale in SCALES):
            yield Mutant(
                f"{output.file}: times 1 {amount:+g}",
                output.file,
                PLAUSIBLE,
                lambda amount=amount: _rewritten(text, partial(_nudged, amount)).encode(),
                Nudge(f"{output.file}: times 1 {'+' if amount > 0 else '-'} x", amount),
            )


def _as_number(word: str) -> int | float | None:
    for read in (int, float):
        try:
            return read(word)
        except ValueError:
            continue
    return None


def _rewritten(text: str, change: Callable[[Any], Any]) -> str:
    def word(match: re.Match[str]) -> str:
        number = _as_number(match[0])
        return match[0] if number is None else repr(change(number))

    return _WORD.sub(word, text)
