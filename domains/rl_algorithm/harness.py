"""The trusted trainer: reinforcement learning of the test bed with the candidate's algorithm, in a process of its own.

The candidate answers from another sandbox (stub.py); arrays go over the channel and nothing else. What this leaves:
out/runs.json, measured here and no claim of the candidate, and out/progress.jsonl. An answer that will not do, an
exception or silence of the candidate ends this program as a fault of the candidate (status 86, by the channel).

It measures and judges nothing: scores are the evaluator's. By hand there is benchmarks/rl_algorithm_references.py.
"""

# ruff: noqa: E402 - torch reads the environment when it is imported, and the channel lies in the job's folder

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

# One CPU is granted: threads of linear algebra would only wait for each other, and sums would not repeat to the bit.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

JOB = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
sys.path.insert(0, str(JOB / "channel"))
sys.path.insert(0, str(Path(__file__).parent))

import torch
from boundary.remote import RemoteAlgorithm
from training.series import Settings, run_all


def main() -> None:
    """Train for one job folder."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    params = json.loads((JOB / "params.json").read_text())
    settings = Settings.read(params)
    run_all(RemoteAlgorithm(), settings, JOB / "out")


if __name__ == "__main__":
    main()
