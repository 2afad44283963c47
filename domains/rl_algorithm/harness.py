"""The trusted trainer: reinforcement learning of the test bed with the candidate's algorithm, in a process of its own.

The candidate answers from another sandbox (stub.py); arrays go over the channel and nothing else. What this leaves:
out/runs.json, measured here and no claim of the candidate, and out/progress.jsonl. An answer that will not do, an
exception or silence of the candidate ends this program as a fault of the candidate (status 86, by the channel).

It measures and judges nothing: scores are the evaluator's. By hand there is benchmarks/rl_algorithm_references.py.
"""

# ruff: noqa: E402 - torch reads the environment when it is imported, and the channel lies in the job's folder

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

# One CPU is granted: threads of linear algebra would only wait for each other, and sums would not repeat to the bit.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

JOB = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
sys.path.insert(0, str(JOB / "channel"))
sys.path.insert(0, str(Path(__file__).parent))

from boundary.remote import CALL_SECONDS, RemoteAlgorithm


def main() -> None:
    """Train for one job folder."""
    params = json.loads((JOB / "params.json").read_text())
    if params["parameters"].get("trainer") == "trl":
        train_real_model(params)
    else:
        train_on_the_bed(params)


def train_on_the_bed(params: dict[str, Any]) -> None:
    """Every regime with every seed, on one thread."""
    import torch
    from training.series import Settings, run_all

    keep_memory()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue] -- a debugging help, 3 % of a run
    run_all(remote(params), Settings.read(params), JOB / "out")


def keep_memory() -> None:
    """Have glibc keep what is freed: giving it back, and getting it again in pages of zeros, takes 4 % of a run."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD


def train_real_model(params: dict[str, Any]) -> None:
    """A Hugging Face model of the user's, with TRL; says first what is missing, before the candidate is waited for."""
    from real import stage

    settings = stage.prepare(JOB, params)
    stage.run(JOB, params, settings, remote(params))


def remote(params: dict[str, Any]) -> RemoteAlgorithm:
    """The candidate. Parameters of the stage: `call_seconds` (30) and `candidate_seconds` (no bound), wall time of a
    call and of all calls together; those of the training are in series.py and regimes.py, or in real/settings.py."""
    parameters = params["parameters"]
    return RemoteAlgorithm(
        call_seconds=float(parameters.get("call_seconds", CALL_SECONDS)),
        seconds_in_all=float(parameters.get("candidate_seconds", math.inf)),
    )


if __name__ == "__main__":
    main()
