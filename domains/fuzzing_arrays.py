"""Malformed `.npz` outputs: the declared form with other values in it, and forms that are not the declared one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from .contract import ArraySpec, OutputSpec
from .fuzzing import SCALES, Expectation, Mutant, Nudge

BOMB_BYTES = 64_000_000
REFUSED, NO_GAIN, PLAUSIBLE = Expectation.REFUSED, Expectation.NO_GAIN, Expectation.PLAUSIBLE

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
Change = tuple[str, Expectation, Callable[[], Array]]


def array_mutants(output: OutputSpec, data: bytes) -> Iterator[Mutant]:
    """Mutants of an `.npz`, of which the honest one is `data`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        arrays: Arrays = {name: loaded[name] for name in loaded.files}
    rules = output.arrays or {}
    for name, array in arrays.items():
        for what, expectation, change in _values(array, rules.get(name)):
            yield _replaced(output, arrays, name, what, expectation, change)
        yield from _nudged(output, arrays, name)
    if len(arrays) > 1:
        yield _everywhere(output, arrays, rules)
    yield from _broken_forms(output, arrays)


def _replaced(
    output: OutputSpec,
    arrays: Arrays,
    name: str,
    what: str,
    expectation: Expectation,
    change: Callable[[], Array],
    nudge: Nudge | None = None,
) -> Mutant:
    def make() -> bytes:
        return npz(arrays | {name: change()})

    return Mutant(f"{output.file}: {name} {what}", output.file, expectation, make, nudge)


def npz(arrays: Mapping[str, Array]) -> bytes:
    """The arrays as `numpy.savez` would write them, whatever their names."""
    return _archive(_members(arrays))


def _values(array: Array, rule: ArraySpec | None) -> Iterator[Change]:
    """Changes that keep type and shape. Those that change nothing are left out."""
    if array.size == 0:
        return
    changes = {"f": _floats, "i": _integers, "u": _integers, "b": _bools}.get(array.dtype.kind)
    if changes is None:
        return
    for what, expectation, change in changes(array, rule):
        if change().tobytes() != array.tobytes():
            yield what, expectation, change


def _floats(array: Array, rule: ArraySpec | None) -> Iterator[Change]:
    limits = np.finfo(array.dtype)
    huge = 1e308 if array.dtype.itemsize == 8 else float(limits.max)
    nonfinite = NO_GAIN if rule is not None and rule.allow_nonfinite else REFUSED
    for what, value, expectation, ends_too in (
        ("NaN", np.nan, nonfinite, True),
        ("inf", np.inf, nonfinite, False),
        ("-inf", -np.inf, nonfinite, False),
        (f"{huge:.4g}", huge, NO_GAIN, False),
        (f"{-huge:.4g}", -huge, NO_GAIN, False),
    ):
        yield from _put(array, what, value, expectation, ends_too=ends_too)
    yield "all denormal", PLAUSIBLE, lambda: np.full_like(array, limits.smallest_subnormal)
    yield "all -0.0", PLAUSIBLE, lambda: np.full_like(array, -0.0)
    yield "all 0", PLAUSIBLE, lambda: np.zeros_like(array)
    yield "negated", PLAUSIBLE, lambda: -array


def _integers(array: Array, _: ArraySpec | None) -> Iterator[Change]:
    limits = np.iinfo(array.dtype)
    # Bytes hold their bounds every day; a count of 2**63 is garbage.
    expectation = NO_GAIN if limits.bits > 8 else PLAUSIBLE
    for value in (int(limits.max), int(limits.min)):
        if value:
            yield from _put(array, str(value), value, expectation, ends_too=False)
    yield from _put(array, "-1", -1, PLAUSIBLE, ends_too=False) if limits.min else ()
    yield "all 0", PLAUSIBLE, lambda: np.zeros_like(array)
    if limits.min:
        yield "negated", PLAUSIBLE, lambda: -array


def _bools(array: Array, _: ArraySpec | None) -> Iterator[Change]:
    yield "all true", PLAUSIBLE, lambda: np.ones_like(array)
    yield "all false", PLAUSIBLE, lambda: np.zeros_like(array)
    yield "inverted", PLAUSIBLE, lambda: np.logical_not(array)


def _put(array: Array, what: str, value: float, expectation: Expectation, *, ends_too: bool) -> Iterator[Change]:
    """A value at single places and everywhere."""

    def at(place: int) -> Callable[[], Array]:
        def change() -> Array:
            changed = array.copy()
            changed.flat[place] = value
            return changed

        return change

    places = {array.size // 2, *((0, array.size - 1) if ends_too else ())}
    if array.size > 1:
        for place in sorted(places):
            index = ", ".join(str(int(part)) for part in np.unravel_index(place, array.shape))
            yield f"{what} at [{index}]", expectation, at(place)
    yield f"all {what}", expectation, lambda: np.full_like(array, value)


def _nudged(output: OutputSpec, arrays: Arrays, name: str) -> Iterator[Mutant]:
    array = arrays[name]
    if array.dtype.kind != "f" or not array.any():
        return
    for sign in (1, -1):
        for scale in SCALES:
            amount = sign * scale
            nudge = Nudge(f"{output.file}: {name} times 1 {'+' if sign > 0 else '-'} x", amount)
            if _scaled(array, amount).tobytes() != array.tobytes():  # single precision has no room for the smallest
                change = partial(_scaled, array, amount)
                yield _replaced(output, arrays, name, f"times 1 {amount:+g}", PLAUSIBLE, change, nudge)


def _scaled(array: Array, amount: float) -> Array:
    return (array * (1 + amount)).astype(array.dtype)


def _everywhere(output: OutputSpec, arrays: Arrays, rules: Mapping[str, ArraySpec]) -> Mutant:
    def make() -> bytes:
        return npz({name: _filled(array) for name, array in arrays.items()})

    exempt = any(rule.allow_nonfinite for rule in rules.values())
    return Mutant(f"{output.file}: every array NaN", output.file, NO_GAIN if exempt else REFUSED, make)


def _filled(array: Array) -> Array:
    return np.full_like(array, np.nan) if array.dtype.kind == "f" else array


def _broken_forms(output: OutputSpec, arrays: Arrays) -> Iterator[Mutant]:
    """Files that are no such `.npz`. Where nothing is declared, another type or an array more may be legitimate."""
    lenient = REFUSED if output.arrays is not None else NO_GAIN

    def mutant(what: str, expectation: Expectation, make: Callable[[], bytes]) -> Mutant:
        return Mutant(f"{output.file}: {what}", output.file, expectation, make)

    for name, array in arrays.items():
        rest = {other: kept for other, kept in arrays.items() if other != name}
        yield mutant(f"{name} missing", lenient, lambda rest=rest: npz(rest))
        for what, shaped in _other_shapes(array):
            yield _replaced(output, arrays, name, what, lenient, shaped)
        pickled = partial(np.full, array.shape, None, dtype=object)
        yield _replaced(output, arrays, name, "as pickled objects", REFUSED, pickled)
    first, array = next(iter(arrays.items()))
    other = np.float32 if array.dtype == np.float64 else np.float64
    yield _replaced(output, arrays, first, f"as {np.dtype(other).name}", lenient, lambda: array.astype(other))
    if array.dtype.itemsize > 1:
        swapped = array.dtype.newbyteorder(">")
        yield _replaced(output, arrays, first, "in big-endian bytes", lenient, lambda: array.astype(swapped))
    yield mutant("an array more", lenient, lambda: npz(arrays | {"one_more": array}))
    yield mutant(f"{first} twice", lenient, lambda: _archive(_members(arrays) + _members({first: array})))
    yield mutant("a header that claims 10**12 elements", REFUSED, lambda: _claiming(arrays, first))
    yield mutant(f"{BOMB_BYTES} bytes of zeros, packed", lenient, lambda: _bomb(arrays, first))


def _other_shapes(array: Array) -> Iterator[tuple[str, Callable[[], Array]]]:
    if array.ndim and len(array):
        yield "one shorter", lambda: array[:-1]
        yield "one longer", lambda: np.concatenate([array, array[-1:]])
        yield "without elements", lambda: array[:0]
    yield "with a dimension more", lambda: array.reshape((1, *array.shape))
    if array.ndim != 1:
        yield "flattened", lambda: array.reshape(-1)


def _members(arrays: Mapping[str, Array]) -> list[tuple[str, bytes]]:
    members: list[tuple[str, bytes]] = []
    for name, array in arrays.items():
        stream = io.BytesIO()
        np.lib.format.write_array(stream, array, allow_pickle=True)
        members.append((f"{name}.npy", stream.getvalue()))
    return members


def _archive(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members:
            archive.NameToInfo.clear()  # or it warns of a name that occurs twice, which is what we are after
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return stream.getvalue()


def _claiming(arrays: Arrays, name: str) -> bytes:
    header = io.BytesIO()
    described = {"descr": arrays[name].dtype.str, "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, described)
    rest = {other: array for other, array in arrays.items() if other != name}
    return _archive([(f"{name}.npy", header.getvalue() + arrays[name].tobytes()), *_members(rest)])


def _bomb(arrays: Arrays, name: str) -> bytes:
    dtype = arrays[name].dtype
    zeros = np.zeros(BOMB_BYTES // dtype.itemsize, dtype)
    return _archive(_members(arrays | {name: zeros}), zipfile.ZIP_DEFLATED)
