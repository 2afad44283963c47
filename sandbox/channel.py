"""Calls between a trusted trainer and a candidate in another sandbox: named arrays over two pipes, in frames.

One file, laid into both sandboxes of shape `serve`, that imports the standard library and numpy alone. A trainer uses

    candidate = Candidate()
    answer = candidate.call("policy_loss", {"logp": logp}, timeout=30, expect={"loss": ("float32", ())})

and the candidate's side is this file run as a program, or a domain's own stub that ends in `serve(functions)`.

A frame, all numbers little-endian:

    magic 4s | kind u8 | arrays u8 | label u16 | number u32 | rest u64      20 bytes; `rest` is what follows, in bytes
    label in UTF-8: the function of a call, the words of a failure
    for each array: name u8 + UTF-8 | type u8 | dimensions u8 | lengths u64 each
    the data of each array, C order

Every length is checked against its bound before anything is allocated, and nothing is ever unpickled. What the
trainer trusts of an answer is its form: the numbers in it, NaN included, are the candidate's.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import select
import struct
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

CANDIDATE_FAULT_STATUS = 86
"""With this exit status a trainer says that the candidate is at fault; any other but 0 is the trainer's own failure."""

READ_END, WRITE_END = "CHANNEL_READ", "CHANNEL_WRITE"
"""Environment variables with the descriptors of this side."""

MAX_FRAME_BYTES = 1 << 28
MAX_ARRAYS = 64
MAX_NAME_BYTES = 64
MAX_DIMENSIONS = 8
MAX_WORDS_BYTES = 4000

MAGIC = b"AEC1"
HEADER = struct.Struct("<4sBBHIQ")
READY, CALL, ANSWER, FAILURE = 1, 2, 3, 4
TYPES = ("float64", "float32", "float16", "int64", "int32", "uint8", "bool")
_CODES = {np.dtype(order + np.dtype(name).str[1:]): code for code, name in enumerate(TYPES) for order in "<>"}
_DTYPES = tuple(np.dtype(name).newbyteorder("<") for name in TYPES)

Arrays = Mapping[str, Any]
Form = Mapping[str, tuple[str, tuple[int, ...]]]


class CandidateFault(Exception):
    """The candidate is at fault. Left uncaught, or raised by the trainer itself, it ends the trainer with the status
    that says so; the message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" | ".join(line.strip() for line in message.splitlines() if line.strip()))


class CandidateFailed(CandidateFault):
    """A function of the candidate raised an exception, or its answer is not of the form that was asked for."""


class CandidateGone(CandidateFault):
    """Its process has ended."""


class CandidateHung(CandidateFault):
    """The whole answer was not there in time."""


class CandidateGarbled(CandidateFault):
    """What came is no frame, breaks a bound, or came unasked."""


class Malformed(Exception):
    """Bytes that are no frame, or a value that does not go into one."""


class Frame:
    """One message."""

    def __init__(self, kind: int, number: int, label: str = "", arrays: Arrays | None = None) -> None:
        self.kind = kind
        self.number = number
        self.label = label
        self.arrays = dict(arrays or {})

    def pack(self, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
        """As it goes over the pipe.

        Raises:
            Malformed: an array has a type or a name, or the frame a size, that cannot be sent.
        """
        label = self.label.encode("utf-8", errors="backslashreplace")
        if len(label) > MAX_WORDS_BYTES:
            raise Malformed(f"Expected at most {MAX_WORDS_BYTES} bytes of words, but got {len(label)}.")
        if len(self.arrays) > MAX_ARRAYS:
            raise Malformed(f"Expected at most {MAX_ARRAYS} arrays, but got {len(self.arrays)}.")
        forms: list[bytes] = []
        bodies: list[bytes] = []
        for name, value in self.arrays.items():
            array = np.asarray(value)
            forms.append(_pack_form(name, array))
            code = _CODES[array.dtype]
            bodies.append((array if array.dtype == _DTYPES[code] else array.astype(_DTYPES[code])).tobytes())
        rest = b"".join((label, *forms, *bodies))
        if len(rest) > max_bytes:
            raise Malformed(f"Expected arrays of at most {max_bytes} bytes together, but got {len(rest)}.")
        return HEADER.pack(MAGIC, self.kind, len(self.arrays), len(label), self.number, len(rest)) + rest


def _pack_form(name: str, array: np.ndarray) -> bytes:
    encoded = str(name).encode()
    code = _CODES.get(array.dtype)
    if not 0 < len(encoded) <= MAX_NAME_BYTES:
        raise Malformed(f"Expected a name of 1 to {MAX_NAME_BYTES} bytes, but got {str(name)[:80]!r}.")
    if code is None:
        raise Malformed(f"Expected array {name} of a type out of {', '.join(TYPES)}, but got {array.dtype}.")
    if array.ndim > MAX_DIMENSIONS:
        raise Malformed(f"Expected array {name} of at most {MAX_DIMENSIONS} dimensions, but it has {array.ndim}.")
    head = bytes((len(encoded),)) + encoded + bytes((code, array.ndim))
    return head + struct.pack(f"<{array.ndim}Q", *array.shape)


def read_header(data: bytes, max_bytes: int) -> tuple[int, int, int, int, int]:
    """(kind, arrays, bytes of the label, number, bytes of the rest) of a frame, each within its bounds.

    Raises:
        Malformed: one is not.
    """
    magic, kind, count, label, number, rest = HEADER.unpack(data)
    if magic != MAGIC:
        raise Malformed(f"Expected a frame to begin with {MAGIC!r}, but got {magic!r}.")
    if kind not in (READY, CALL, ANSWER, FAILURE):
        raise Malformed(f"Expected a kind of frame from {READY} to {FAILURE}, but got {kind}.")
    if rest > max_bytes:
        raise Malformed(f"Expected a frame of at most {max_bytes} bytes, but it claims {rest}.")
    if count > MAX_ARRAYS or label > min(rest, MAX_WORDS_BYTES):
        raise Malformed(f"Expected at most {MAX_ARRAYS} arrays and {MAX_WORDS_BYTES} bytes of words, but it has more.")
    return kind, count, label, number, rest


def unpack(header: bytes, rest: bytes | bytearray | memoryview, max_bytes: int = MAX_FRAME_BYTES) -> Frame:
    """The frame in a header and all that follows it; its arrays are copies that can be written to.

    Raises:
        Malformed: it is none.
    """
    kind, count, label, number, length = read_header(header, max_bytes)
    view = memoryview(rest)
    if len(view) != length:
        raise Malformed(f"Expected {length} bytes after the header, but got {len(view)}.")
    try:
        words = bytes(view[:label]).decode()
        forms, position = _read_forms(view, label, count)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Malformed(f"Expected a readable list of {count} arrays, but: {error}.") from error
    sizes = [_DTYPES[code].itemsize * math.prod(shape) for _, code, shape in forms]
    if sum(sizes) != length - position:
        raise Malformed(f"Expected {sum(sizes)} bytes of data, but got {length - position}.")
    arrays: dict[str, np.ndarray] = {}
    for (name, code, shape), size in zip(forms, sizes, strict=True):
        arrays[name] = _array(view[position : position + size], name, code, shape)
        position += size
    if len(arrays) != count:
        raise Malformed("Expected arrays of different names, but two have the same.")
    return Frame(kind, number, words, arrays)


def _read_forms(view: memoryview, position: int, count: int) -> tuple[list[tuple[str, int, tuple[int, ...]]], int]:
    """(name, type, shape) of each array, and where their data begin."""
    forms: list[tuple[str, int, tuple[int, ...]]] = []
    for _ in range(count):
        length = view[position]
        name = bytes(view[position + 1 : position + 1 + length]).decode()
        position += 1 + length
        code, dimensions = view[position], view[position + 1]
        if not 0 < length <= MAX_NAME_BYTES or code >= len(TYPES) or dimensions > MAX_DIMENSIONS:
            raise Malformed("Expected an array with a name, a known type and few dimensions, but got another.")
        shape = struct.unpack_from(f"<{dimensions}Q", view, position + 2)
        position += 2 + 8 * dimensions
        forms.append((name, code, shape))
    return forms, position


def _array(data: memoryview, name: str, code: int, shape: tuple[int, ...]) -> np.ndarray:
    if TYPES[code] == "bool" and (np.frombuffer(data, np.uint8) > 1).any():
        raise Malformed(f"Expected array {name} of bools to hold zeros and ones, but it holds other bytes.")
    try:
        return np.frombuffer(data, _DTYPES[code]).reshape(shape).astype(TYPES[code])
    except (ValueError, OverflowError) as error:  # a length of zero beside lengths that numpy cannot count
        raise Malformed(f"Expected array {name} to have a shape, but: {error}.") from error


class Candidate:
    """The trainer's side. It never blocks for longer than its timeouts, whatever the other side does.

    After any `CandidateFault` but `CandidateFailed` the candidate is lost: every further call raises the same again.
    """

    def __init__(self, *, timeout: float = 120.0, max_bytes: int = MAX_FRAME_BYTES) -> None:
        """Wait until the candidate is imported.

        Args:
            timeout: seconds of wall time; importing torch on a busy machine takes many.
            max_bytes: of a frame.

        Raises:
            CandidateFault: its import failed, it is gone, or it was not ready in time.
        """
        _end_with_status()
        self._read_end, self._write_end = int(os.environ[READ_END]), int(os.environ[WRITE_END])
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._max_bytes = max_bytes
        self._number = 0
        self._lost: CandidateFault | None = None
        self._exchange(b"", "to start", time.monotonic() + timeout, READY)

    def call(
        self, function: str, arrays: Arrays, *, timeout: float = 60.0, expect: Form | None = None
    ) -> dict[str, np.ndarray]:
        """Call a function of the candidate and return the arrays that it answers with.

        Args:
            arrays: numpy arrays, or what `numpy.asarray` takes; types as in `TYPES`.
            timeout: seconds of wall time for the whole exchange.
            expect: name to (type, shape) of exactly the arrays that the answer must have. Without it the trainer must
                check them itself, or an odd answer ends as the trainer's own failure.

        Raises:
            CandidateFault: see its kinds.
            Malformed: the trainer's own arrays cannot be sent.
        """
        self._number += 1
        request = Frame(CALL, self._number, function, arrays).pack(self._max_bytes)
        answer = self._exchange(request, f"to answer {function}", time.monotonic() + timeout, ANSWER)
        if expect is not None:
            _check_form(function, answer.arrays, expect)
        return answer.arrays

    def _exchange(self, request: bytes, purpose: str, deadline: float, wanted: int) -> Frame:
        if self._lost is not None:
            raise self._lost
        try:
            frame = self._converse(request, purpose, deadline)
            if frame.kind not in (wanted, FAILURE) or frame.number != self._number:
                raise Malformed("Expected an answer to the last call, but got another frame.")
        except Malformed as error:
            self._lost = CandidateGarbled(f"Expected the candidate {purpose}, but: {error}")
            raise self._lost from error
        except CandidateFault as error:
            self._lost = error
            raise
        if frame.kind == FAILURE:
            raise CandidateFailed(f"Expected the candidate {purpose}, but it raised {frame.label}")
        return frame

    def _converse(self, request: bytes, purpose: str, deadline: float) -> Frame:
        """Write and read at once, so that two full pipes cannot block each other.

        Raises:
            CandidateFault: gone, or out of time.
            Malformed: what came is no frame.
        """
        left = memoryview(request)
        incoming = _Incoming(self._max_bytes)
        while left or incoming.missing:
            written = self._write(left, purpose) if left else 0
            left = left[written:]
            data = self._read(incoming.missing, purpose)
            incoming.add(data)
            if left and not incoming.missing:
                raise Malformed("Expected an answer after the call, but it came before the call was read.")
            wait = deadline - time.monotonic()
            idle = incoming.missing and not written and not data
            if wait <= 0 or (idle and not self._wait(wait, bool(left))):
                raise CandidateHung(f"Expected the candidate {purpose} in time, but it has not.")
        return incoming.frame()

    def _wait(self, seconds: float, for_room: bool) -> bool:
        """Until there is something to read, or room to write; false where neither comes."""
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        if for_room:
            poll.register(self._write_end, select.POLLOUT)
        return bool(poll.poll(1000 * seconds))

    def _write(self, data: memoryview, purpose: str) -> int:
        try:
            return os.write(self._write_end, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise CandidateGone(f"Expected the candidate {purpose}, but its process has ended.") from None

    def _read(self, most: int, purpose: str) -> bytes:
        """What is there now, which may be nothing."""
        try:
            data = os.read(self._read_end, min(most, 1 << 20))
        except BlockingIOError:
            return b""
        if not data:
            raise CandidateGone(f"Expected the candidate {purpose}, but its process has ended.")
        return data


class _Incoming:
    """A frame that comes in piece by piece."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._header = bytearray()
        self._rest: bytearray | None = None
        self.missing = HEADER.size
        """Bytes to read before anything more is known; 0 once the frame is whole."""

    def add(self, data: bytes) -> None:
        """Take in at most `missing` bytes.

        Raises:
            Malformed: the header breaks a bound.
        """
        self.missing -= len(data)
        if self._rest is not None:
            self._rest += data
            return
        self._header += data
        if not self.missing:
            self.missing = read_header(bytes(self._header), self._max_bytes)[-1]
            self._rest = bytearray()

    def frame(self) -> Frame:
        """The whole one."""
        return unpack(bytes(self._header), self._rest or b"", self._max_bytes)


def _check_form(function: str, arrays: Mapping[str, np.ndarray], expect: Form) -> None:
    came = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    wanted = {name: (kind, tuple(shape)) for name, (kind, shape) in expect.items()}
    if came != wanted:
        raise CandidateFailed(f"Expected {function} to answer with {_listed(wanted)}, but got {_listed(came)}.")


def _listed(forms: Form) -> str:
    return ", ".join(f"{name} {kind}{list(shape)}" for name, (kind, shape) in forms.items()) or "nothing"


def _end_with_status() -> None:
    """Have an uncaught `CandidateFault` end this process with the status that the supervisor knows."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        if isinstance(error, CandidateFault):
            raise SystemExit(CANDIDATE_FAULT_STATUS)

    sys.excepthook = hook


def serve(functions: Mapping[str, Callable[..., Any]] | ModuleType) -> None:
    """The candidate's side: answer calls until the trainer ends.

    A function is called with the arrays as keyword arguments. It returns a dictionary of arrays, or one value, which
    goes out by the name `value`.
    """
    _Server().answer(functions)


def refuse(error: BaseException) -> None:
    """Tell the trainer that the candidate could not be imported."""
    _Server().send(Frame(FAILURE, 0, _words(error)))


class _Server:
    def __init__(self) -> None:
        self._input = os.fdopen(int(os.environ[READ_END]), "rb", closefd=False)
        self._output = os.fdopen(int(os.environ[WRITE_END]), "wb", closefd=False)

    def send(self, frame: Frame) -> None:
        self._output.write(frame.pack())
        self._output.flush()

    def answer(self, functions: Mapping[str, Callable[..., Any]] | ModuleType) -> None:
        self.send(Frame(READY, 0))
        while header := self._input.read(HEADER.size):
            rest = self._input.read(read_header(header, MAX_FRAME_BYTES)[-1])
            call = unpack(header, rest)
            try:
                packed = Frame(ANSWER, call.number, arrays=_answer(functions, call)).pack()
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001 -- whatever the candidate raises is an answer
                traceback.print_exc()
                packed = Frame(FAILURE, call.number, _words(error)).pack()
            self._output.write(packed)
            self._output.flush()


def _answer(functions: Mapping[str, Callable[..., Any]] | ModuleType, call: Frame) -> Arrays:
    known = vars(functions) if isinstance(functions, ModuleType) else functions
    function = known.get(call.label)
    if not callable(function):
        raise AttributeError(f"Expected the candidate to define {call.label}, but it does not.")
    result: Any = function(**call.arrays)
    return result if isinstance(result, Mapping) else {"value": result}


def _words(error: BaseException) -> str:
    said = "".join(traceback.format_exception_only(error)).strip()
    return said.encode(errors="backslashreplace")[: MAX_WORDS_BYTES // 2].decode(errors="replace")


def main(arguments: Sequence[str]) -> None:
    """Import the candidate of a job folder and answer for it."""
    job = Path(arguments[1])
    entry = json.loads((job / "params.json").read_text())["entry"]
    sys.path.insert(0, str(job / "candidate"))
    try:
        module = importlib.import_module(entry.removesuffix(".py").replace("/", "."))
    except BaseException as error:
        refuse(error)
        raise
    serve(module)


if __name__ == "__main__":
    main(sys.argv)
