"""Takes over what a sandbox left, once everything in it is dead. Every byte of it is hostile.

No file is followed through a link, opened twice, or trusted for its size; an `.npz` is read by its declared form alone,
without numpy and without pickle.
"""

from __future__ import annotations

import ast
import json
import math
import os
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..evolution.text import inert
from .jobs import ArrayRule, OutputRule

CHUNK = 1 << 20
MAX_NPY_HEADER = 4096
MAX_DIRECTORY_BYTES = 1_000_000
MAX_METRICS_BYTES = 1_000_000
MAX_METRICS = 1000

END_OF_ZIP = struct.Struct("<4sHHHHIIH")
ZIP64_LOCATOR_BYTES = 20

_DESCRIPTIONS = {
    "float64": ("<f8", 8),
    "float32": ("<f4", 4),
    "int64": ("<i8", 8),
    "int32": ("<i4", 4),
    "uint8": ("|u1", 1),
    "bool": ("|b1", 1),
}


class Refused(Exception):
    """The output is not what was declared. The message is one sentence for the Researcher; what it quotes is inert."""

    def __init__(self, message: str) -> None:
        super().__init__(inert(message))


class TooLarge(Refused):
    """It has more bytes than it may have."""


def take_over(out: Path, outputs: Path, rules: tuple[OutputRule, ...]) -> list[str]:
    """Copy the declared outputs from `out` to `outputs` and return their names.

    Raises:
        Refused: one is missing, is not a plain file, is too large, or has not the declared form.
    """
    taken: list[str] = []
    for rule in rules:
        target = outputs / rule.file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not copy_plain(out, rule.file, target, rule.max_bytes):
            if rule.required:
                raise Refused(f"Expected the output {rule.file}, but the run left none.")
            continue
        if rule.arrays is not None:
            check_npz(target, rule.arrays)
        taken.append(rule.file)
    return taken


def keep_artifact(result: Path, file: str, max_bytes: int) -> bool:
    """Whether an artifact is there and plain. One that is too large or odd is left out: it is no reason to fail."""
    try:
        descriptor = _open_plain(result, file)
    except (FileNotFoundError, Refused):
        return False
    try:
        return os.fstat(descriptor).st_size <= max_bytes
    finally:
        os.close(descriptor)


def read_metrics(result: Path) -> dict[str, float] | str:
    """What the evaluator says: metrics, or the sentence with which it refuses the output.

    Raises:
        Refused: it says neither.
    """
    try:
        descriptor = _open_plain(result, "metrics.json")
    except FileNotFoundError:
        raise Refused("Expected the evaluator to write metrics.json, but it wrote none.") from None
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(MAX_METRICS_BYTES + 1)
    if len(data) > MAX_METRICS_BYTES:
        raise Refused(f"Expected metrics.json of at most {MAX_METRICS_BYTES} bytes, but it is larger.")
    try:
        told: Any = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"Expected metrics.json to be strict JSON, but: {error}.") from error
    fields = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    if set(fields) == {"invalid"} and isinstance(fields["invalid"], str) and fields["invalid"].strip():
        return inert(fields["invalid"])
    if set(fields) != {"metrics"} or not isinstance(fields["metrics"], dict):
        raise Refused('Expected metrics.json to be {"metrics": {...}} or {"invalid": "a sentence"}, but it is neither.')
    return _finite(cast("dict[str, Any]", fields["metrics"]))


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number that a metric may have")


def _finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    if len(metrics) > MAX_METRICS:
        raise Refused(f"Expected at most {MAX_METRICS} metrics, but got {len(metrics)}.")
    for name, value in metrics.items():
        # bool is an int to Python, and a big int overflows; 1e999 is read as infinity.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
            raise Refused(f"Expected metric {name[:80]} to be a finite number, but got {str(value)[:80]}.")
    return {inert(name)[:200]: float(value) for name, value in metrics.items()}


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _open_plain(folder: Path, file: str) -> int:
    """Open a regular file with one link beneath a folder; no component may be a link.

    Raises:
        FileNotFoundError: there is none.
        Refused: it is something else.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *parents, name = file.split("/")
        for parent in parents:
            deeper = _open_at(descriptor, parent, os.O_DIRECTORY, file)
            os.close(descriptor)
            descriptor = deeper
        # Non-blocking, or a named pipe would hold us for ever.
        found = _open_at(descriptor, name, os.O_NONBLOCK, file)
    finally:
        os.close(descriptor)
    state = os.fstat(found)
    if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
        return found
    os.close(found)
    raise Refused(f"Expected {file} to be a plain file with one name, but it is a link, a folder, a pipe or a device.")


def _open_at(folder: int, name: str, flags: int, file: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Refused(f"Expected {file} to be a plain file with one name, but: {error.strerror}.") from error


def copy_plain(out: Path, file: str, target: Path, max_bytes: int) -> bool:
    """Copy a regular file with one link beneath `out`; false where there is none.

    Raises:
        Refused: it is something else.
        TooLarge: it is larger.
    """
    try:
        source = _open_plain(out, file)
    except FileNotFoundError:
        return False
    with os.fdopen(source, "rb") as stream, target.open("xb") as copy:
        size = 0
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise TooLarge(f"Expected {file} to have at most {max_bytes} bytes, but it has more.")
            copy.write(chunk)
    target.chmod(0o644)
    return True


def check_npz(path: Path, rules: Mapping[str, ArrayRule]) -> None:
    """Refuse an `.npz` that is not exactly the declared arrays.

    Raises:
        Refused: with what was expected and what came.
    """
    _check_ends(path, len(rules))
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = sorted(member.filename for member in members)
            wanted = sorted(f"{name}.npy" for name in rules)
            if names != wanted:
                raise Refused(f"Expected {path.name} to hold {', '.join(wanted)}, but it holds {_listed(names)}.")
            for member in members:
                _check_member(archive, member, member.filename.removesuffix(".npy"), rules)
    except Refused:
        raise
    # Whatever a broken archive makes zipfile and its decompressors raise, it is the archive that is wrong.
    except Exception as error:
        raise Refused(f"Expected {path.name} to be an npz file, but: {type(error).__name__}: {error}.") from error


def _check_ends(path: Path, arrays: int) -> None:
    """The first and last bytes, before zipfile trusts them.

    zipfile finds an archive behind other bytes, which numpy then refuses, and reads a directory of a million members
    into memory before anybody can count them.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
        stream.seek(max(0, path.stat().st_size - END_OF_ZIP.size - ZIP64_LOCATOR_BYTES))
        end = stream.read()
    locator, record = end[: -END_OF_ZIP.size], end[-END_OF_ZIP.size :]
    if len(record) < END_OF_ZIP.size:
        raise Refused(f"Expected {path.name} to be an npz file, but it has {len(record)} bytes.")
    signature, disk, disk_of_directory, here, members, size, offset, comment = END_OF_ZIP.unpack(record)
    empty = arrays == 0 and start == signature
    if not (empty or start == b"PK\x03\x04") or signature != b"PK\x05\x06" or locator.startswith(b"PK\x06\x07"):
        raise Refused(f"Expected {path.name} to be an npz file as numpy.savez writes it, but it is something else.")
    if (
        disk
        or disk_of_directory
        or comment
        or not here == members
        or offset + size + len(record) != path.stat().st_size
    ):
        raise Refused(f"Expected {path.name} to be an npz file as numpy.savez writes it, but its directory is odd.")
    if size > MAX_DIRECTORY_BYTES:
        raise Refused(f"Expected {path.name} to hold {arrays} arrays, but it holds {members}.")


def _listed(names: list[str]) -> str:
    return ", ".join(name[:60] for name in names[:10]) or "nothing"


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, rules: Mapping[str, ArrayRule]) -> None:
    rule = rules[name]
    description, item = _DESCRIPTIONS[rule.dtype]
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 0x1:
        raise Refused(f"Expected array {name} to be stored or deflated, but it is packed in another way.")
    body = item * math.prod(rule.shape)
    with archive.open(member) as stream:
        header, length = _npy_header(cast(BinaryIO, stream), name)
        _check_header(header, name, rule, description)
        # Read through, in bounded steps: the sizes in the archive's directory are claims.
        left = body
        while left > 0 and (chunk := stream.read(min(CHUNK, left))):
            left -= len(chunk)
            if rule.dtype == "bool" and chunk.translate(None, b"\x00\x01"):
                raise Refused(f"Expected array {name} of bools to hold zeros and ones, but it holds other bytes.")
        if left or stream.read(1) or member.file_size != length + body:
            raise Refused(f"Expected array {name} to have {body} bytes of data, but it has another size.")


def _npy_header(stream: BinaryIO, name: str) -> tuple[dict[str, Any], int]:
    """(header, its length with all that comes before the data), of format versions 1 and 2."""
    start = stream.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:] not in (b"\x01\x00", b"\x02\x00"):
        raise Refused(f"Expected array {name} in npy format 1 or 2, but it is something else.")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > MAX_NPY_HEADER:
        raise Refused(f"Expected the header of array {name} to be short, but it claims {length} bytes.")
    try:
        header: Any = ast.literal_eval(stream.read(length).decode("latin-1").strip(" \n"))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise Refused(f"Expected array {name} to have a readable header, but: {type(error).__name__}.") from error
    if not isinstance(header, dict) or set(cast("dict[Any, Any]", header)) != {"descr", "fortran_order", "shape"}:
        raise Refused(f"Expected array {name} to have the header of an npy file, but it has another.")
    return cast("dict[str, Any]", header), 8 + width + length


def _check_header(header: dict[str, Any], name: str, rule: ArrayRule, description: str) -> None:
    if header["descr"] != description:
        raise Refused(f"Expected array {name} of type {rule.dtype}, but got {str(header['descr'])[:60]}.")
    # Not by ==, to which (1.0,) and (True,) are (1,).
    if repr(header["shape"]) != repr(rule.shape):
        raise Refused(f"Expected array {name} of shape {rule.shape}, but got {str(header['shape'])[:60]}.")
    if not isinstance(header["fortran_order"], bool):
        raise Refused(f"Expected array {name} to say whether it is in Fortran order, but it does not.")
