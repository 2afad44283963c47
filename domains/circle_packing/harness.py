"""Runs in the sandbox beside the candidate: calls `construct_packing` and leaves what it returned in out/packing.npz.

It judges nothing but whether the answer is made of numbers. A packing of the wrong shape, with overlaps or with NaN
goes out as it is: refusing it with a sentence is the evaluator's part. By hand: `python harness.py JOB_FOLDER`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One CPU is granted: linear algebra threads would only spin, and that counts as CPU time.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np

# Taken before the candidate is imported, so that one that patches numpy cannot trip over itself here.
_asarray, _savez, _float64 = np.asarray, np.savez, np.float64


def main() -> None:
    """Run the candidate of one job folder."""
    job = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
    params = json.loads((job / "params.json").read_text())
    random.seed(params["seed"])
    np.random.seed(params["seed"])
    centers, radii, claimed = _run(job / "candidate", params["entry"], params["parameters"]["n"])
    arrays = {
        "centers": _numbers(centers, "centers"),
        "radii": _numbers(radii, "radii"),
        "claimed": _numbers(claimed, "sum_radii"),
    }
    with (job / "out" / "packing.npz").open("wb") as stream:
        _savez(stream, **arrays)


def _run(folder: Path, entry: str, n: int) -> tuple[Any, Any, Any]:
    sys.path.insert(0, str(folder))  # PYTHONSAFEPATH leaves it out, and the candidate may import files beside its own
    try:
        packing = _call(importlib.import_module(entry.removesuffix(".py")).construct_packing, n)
    except SystemExit as error:
        raise RuntimeError(f"Expected construct_packing to return, but it left by sys.exit({error.code!r}).") from error
    if not isinstance(packing, (tuple, list)) or len(packing) != 3:
        came = f"{len(packing)} values" if isinstance(packing, (tuple, list)) else type(packing).__name__
        raise TypeError(f"Expected construct_packing to return (centers, radii, sum_radii), but got {came}.")
    return packing[0], packing[1], packing[2]


def _call(construct: Callable[..., Any], n: int) -> Any:
    """Call with `n` where there is a parameter for it: one named n, or one that has no default."""
    positional = [
        parameter
        for parameter in inspect.signature(construct).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    takes_n = positional and (positional[0].name == "n" or positional[0].default is inspect.Parameter.empty)
    return construct(n) if takes_n else construct()


def _numbers(value: Any, name: str) -> Any:
    array = _asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"Expected {name} to be real numbers, but got an array of dtype {array.dtype}.")
    return array.astype(_float64)


if __name__ == "__main__":
    main()
