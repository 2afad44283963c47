"""What a process that a candidate ran in has left, read as data that may be anything: logits and a report.

report.json is what training/report.py writes. Read of it are

    {"format": 1, "kernels": {"name": "stand_in"}, "precision": "fp32",       or "bf16"
     "refused": null,                                                         or {"check": ..., "sentence": ...}
     "findings": [{"check": "causality", "verdict": "passed", "value": 1e-7, "limit": 1e-5, "sentence": "..."}, ...],
     "parameters": 123456, "parameter_ratio": 1.02, "cost_exponent": 1.01, "cost_ratio": 1.3,
     "mlp_width": 128, "tokens_per_cpu_second": 40000.0, "peak_memory_mb": 300.0,          null where not measured
     "tasks": {"recall": {"steps": 180, "points": [[1, 2.8], ...], "claimed": {"30": 1.2, "60": 0.4, "100": 0.1}}}}

`points` are steps and training losses, at most 1,000. `claimed` are losses at the checkpoints over questions of the
audit's kind that the process made for itself. Where a check refused, nothing else is needed. All of it is a claim.
predictions.npz has one array `TASK@PERCENT` for each task and checkpoint: float32 logits (rows, questions, vocabulary),
as np.savez writes them.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FORMAT = 1
LARGEST_REPORT = 1_000_000
MOST_FINDINGS, LONGEST_SENTENCE, MOST_POINTS = 200, 600, 1_000
VERDICTS = ("passed", "warning", "flagged", "refused")
PRECISIONS = ("fp32", "bf16")

REQUIRED_CHECKS = (
    "constructor",
    "signature",
    "shape",
    "precision",
    "tampering",
    "speed",
    "parameters",
    "lengths",
    "finite",
    "batch",
    "causality",
    "replay",
    "memory",
    "cost",
    "structure",
)
"""Without a finding of each the candidate has not been checked."""

BOUNDS = {
    "parameters": (1, 1e13),
    "parameter_ratio": (1e-3, 1e3),
    "cost_exponent": (-2.0, 4.0),
    "cost_ratio": (1e-3, 1e3),
    "mlp_width": (1, 1e6),
    "tokens_per_cpu_second": (1e-3, 1e12),
    "peak_memory_mb": (1, 1e8),
    "mfu": (1e-6, 1.0),
}
"""What an honest process can have measured."""

NEEDED = ("parameters", "parameter_ratio", "cost_exponent", "cost_ratio")
"""Where something was trained; the others may be null."""

FOR_PEOPLE = ("tokens_per_second", "baseline_tokens_per_second", "model_flops_per_token")
"""Numbers that are told and not used, here and (the first) of a task; so are the groups `cpu_seconds` and `built`."""

HIGHEST_LOSS = 1e6
"""Of a claim, in nats."""


class Refusal(Exception):
    """The outputs cannot be scored; the message is the sentence for the Researcher."""


class Finding(NamedTuple):
    """What a check said; see checks/."""

    check: str
    verdict: str
    value: float | None
    limit: float | None
    sentence: str


class Claim(NamedTuple):
    """What the training process says about one task."""

    steps: int
    losses: dict[str, float]
    """By checkpoint, in percent."""
    curve: list[tuple[float, float]]


class Report(NamedTuple):
    """A report of known form; every number is finite and within its bounds."""

    kernels: str
    precision: str
    findings: list[Finding]
    numbers: dict[str, float]
    claims: dict[str, Claim]


def read_report(path: Path, tasks: Sequence[str], checkpoints: Sequence[str]) -> Report:
    """The report. Raises Refusal where a check refused the candidate, or where the report is not as it has to be."""
    report = _json(path)
    if report.get("refused") is not None:
        refused = _object(report, "refused")
        check, sentence = (_text(refused.get(name), f"refused.{name}", 100_000) for name in ("check", "sentence"))
        raise Refusal(f"{_clean(check)[:40]}: {_clean(sentence)[:LONGEST_SENTENCE]}")
    findings = _findings(report.get("findings"))
    for finding in findings:
        if finding.verdict == "refused":
            raise Refusal(f"{finding.check}: {finding.sentence}")
    missing = [check for check in REQUIRED_CHECKS if check not in {finding.check for finding in findings}]
    if missing:
        raise Refusal(f"report: Expected a finding of every check, but got none of {', '.join(missing)}.")
    if report.get("format") != FORMAT:
        raise Refusal(f"report: Expected format {FORMAT}, but got {_short(report.get('format'))}.")
    kernels = _text(_object(report, "kernels").get("name"), "kernels.name", 40)
    precision = _text(report.get("precision"), "precision", 10)
    if precision not in PRECISIONS:
        raise Refusal(f"report: Expected a precision of {PRECISIONS}, but got {precision!r}.")
    numbers = {
        name: _number(report.get(name), name, *bounds)
        for name, bounds in BOUNDS.items()
        if report.get(name) is not None or (tasks and name in NEEDED)
    }
    claimed = _object(report, "tasks")
    claims = {task: _claim(_object(claimed, task), task, checkpoints) for task in tasks}
    _check_rest(report)
    return Report(_clean(kernels), precision, findings, numbers, claims)


def read_predictions(path: Path, shapes: Mapping[str, tuple[int, int, int]]) -> dict[str, np.ndarray]:
    """Exactly these arrays of float32, each finite. Raises Refusal for whatever else the file is.

    Reads the .npy headers itself and no more bytes than the shapes allow: nothing is unpickled, nothing can unpack to
    more.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sorted(entry.filename for entry in entries) != sorted(f"{name}.npy" for name in shapes):
                raise Refusal(
                    f"predictions: Expected the arrays {', '.join(sorted(shapes))}, but got "
                    f"{_short([entry.filename for entry in entries[:12]])}."
                )
            return {
                entry.filename.removesuffix(".npy"): _array(archive, entry, shapes[entry.filename.removesuffix(".npy")])
                for entry in entries
            }
    # What zipfile and zlib raise over bytes that are no archive, or a cut, encrypted or exotic one.
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, struct.error) as error:
        raise Refusal(f"predictions: Expected an .npz file, but got {_short(error)}.") from error
    except (zipfile.BadZipFile, zlib.error, OverflowError) as error:
        raise Refusal(f"predictions: Expected an .npz file, but got {_short(error)}.") from error


_HEADER = re.compile(rb"\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d{1,9}), (\d{1,9}), (\d{1,9})\), \} *\n")


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, shape: tuple[int, int, int]) -> np.ndarray:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refusal(f"predictions: Expected {entry.filename} stored or deflated, but got another compression.")
    size = 4 * math.prod(shape)
    with archive.open(entry) as stream:
        magic, length = stream.read(8), stream.read(2)
        header = stream.read(int.from_bytes(length, "little")) if magic == b"\x93NUMPY\x01\x00" else b""
        match = _HEADER.fullmatch(header)
        if match is None or tuple(map(int, match.groups())) != shape:
            raise Refusal(
                f"predictions: Expected {entry.filename} of dtype float32 and shape {shape}, but got {_short(header)}."
            )
        raw = stream.read(size + 1)
    if len(raw) != size:
        came = len(raw) if len(raw) < size else "more"
        raise Refusal(f"predictions: Expected {size} bytes of numbers in {entry.filename}, but got {came}.")
    logits = np.frombuffer(raw, dtype="<f4").reshape(shape)
    if not np.isfinite(logits).all():
        raise Refusal(f"finite: Expected finite logits, but some of {entry.filename.removesuffix('.npy')} are not.")
    return logits


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > LARGEST_REPORT:
        raise Refusal(f"report: Expected report.json of at most {LARGEST_REPORT} bytes.")
    try:
        report = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"report: Expected JSON, but got {_short(error)}.") from error
    if not isinstance(report, dict):
        raise Refusal(f"report: Expected an object, but got {type(report).__name__}.")
    return report


def _refuse_constant(name: str) -> float:
    raise Refusal(f"report: Expected finite numbers, but got {name}.")


def _findings(value: Any) -> list[Finding]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_FINDINGS:
        raise Refusal(f"report: Expected a list of 1 to {MOST_FINDINGS} findings.")
    return [_finding(item) for item in value]


def _finding(item: Any) -> Finding:
    if not isinstance(item, dict):
        raise Refusal(f"report: Expected findings that are objects, but got {_short(item)}.")
    check, verdict = item.get("check"), item.get("verdict")
    if not isinstance(check, str) or not re.fullmatch(r"[a-z][a-z_ ]{0,39}", check):
        raise Refusal(f"report: Expected the name of a check, but got {_short(check)}.")
    if verdict not in VERDICTS:
        raise Refusal(f"report: Expected a verdict of {VERDICTS}, but got {_short(verdict)}.")
    figures = [
        None if item.get(name) is None else _number(item[name], f"{check}.{name}", -1e300, 1e300)
        for name in ("value", "limit")
    ]
    sentence = _text(item.get("sentence"), f"{check}.sentence", 100_000)
    return Finding(check, str(verdict), figures[0], figures[1], _clean(sentence)[:LONGEST_SENTENCE])


def _claim(value: dict[str, Any], task: str, checkpoints: Sequence[str]) -> Claim:
    steps, claimed = _number(value.get("steps"), f"{task}.steps", 1, 1e15), _object(value, "claimed")
    losses = {at: _number(claimed.get(at), f"{task}.claimed.{at}", 0, HIGHEST_LOSS) for at in checkpoints}
    if value.get("control") is not None:
        _points(value["control"], f"{task}.control")
    for name in ("tokens", "tokens_per_second"):
        _number_or_null(value.get(name), f"{task}.{name}")
    return Claim(int(steps), losses, _points(value.get("points"), f"{task}.points"))


def _points(value: Any, name: str) -> list[tuple[float, float]]:
    if not isinstance(value, list) or len(value) > MOST_POINTS:
        raise Refusal(f"report: Expected {name} to be a list of at most {MOST_POINTS}.")
    return [_point(point, name) for point in value]


def _point(point: Any, name: str) -> tuple[float, float]:
    if not isinstance(point, list) or len(point) != 2:
        raise Refusal(f"report: Expected points [step, loss] in {name}, but got {_short(point)}.")
    return _number(point[0], name, 0, 1e15), _number(point[1], name, -HIGHEST_LOSS, HIGHEST_LOSS)


def _check_rest(report: dict[str, Any]) -> None:
    """What is not used is read by people: numbers there have to be numbers too."""
    for name in FOR_PEOPLE:
        _number_or_null(report.get(name), name)
    for group in ("cpu_seconds", "built"):
        for name, value in (_object(report, group) if report.get(group) is not None else {}).items():
            if (group, name) == ("built", "precision"):
                _text(value, "built.precision", 10)
            else:
                _number_or_null(value, f"{group}.{_short(name)}")
    everything: list[Any] = [report]
    while everything:
        value = everything.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise Refusal("report: Expected finite numbers, but some are not.")
        everything += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _number_or_null(value: Any, name: str) -> None:
    if value is not None:
        _number(value, name, -1e300, 1e300)


def _number(value: Any, name: str, low: float, high: float) -> float:
    if type(value) not in (int, float) or not low <= value <= high:
        raise Refusal(f"report: Expected {name} to be a number from {low:g} to {high:g}, but got {_short(value)}.")
    return float(value)


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(value.get(name), dict):
        raise Refusal(f"report: Expected {name} to be an object, but got {_short(value.get(name))}.")
    return value[name]


def _text(value: Any, name: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise Refusal(f"report: Expected {name} to be text of at most {longest} characters, but got {_short(value)}.")
    return value


def _clean(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _short(value: object) -> str:
    """A few printable characters of anything."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**20:
        return "a huge integer"
    if isinstance(value, (dict, list)) and len(value) > 12:
        return f"{type(value).__name__} of {len(value)}"
    return _clean(str(value))[:120]
