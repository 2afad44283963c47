"""Numbers that a candidate tells of itself, on their way over the channel: names as bytes, one a line, and values.

They are shown and judged by nobody, so what will not do is dropped, never an error: strange names, values that are not
finite, and all beyond the first few.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

MAX_METRICS = 6
MAX_NAME = 24
"""Characters: fits into a name of progress.jsonl with a word before it."""
NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_.@/-]{{0,{MAX_NAME - 1}}}")


def pack(metrics: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """(names uint8, values float64) of the metrics that will do."""
    good = [(name, value) for name, value in metrics.items() if NAME.fullmatch(name) and math.isfinite(value)]
    names = "\n".join(name for name, _ in good[:MAX_METRICS]).encode("ascii")
    return np.frombuffer(names, np.uint8), np.array([value for _, value in good[:MAX_METRICS]], np.float64)


def unpack(names: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """The metrics that will do out of any two arrays; what is no such pair holds none."""
    form = (names.dtype, names.ndim, values.dtype, values.ndim)
    if form != (np.uint8, 1, np.float64, 1) or names.size > MAX_METRICS * (MAX_NAME + 1) or values.size > MAX_METRICS:
        return {}
    lines = names.tobytes().decode("ascii", errors="replace").split("\n")
    pairs = zip(lines, values.tolist(), strict=False)
    return {name: value for name, value in pairs if NAME.fullmatch(name) and math.isfinite(value)}
