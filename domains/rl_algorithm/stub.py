"""Runs beside the candidate, in its sandbox: imports it, and answers the trainer's calls over the channel.

What it has: candidate/, channel/, its own neighbours in boundary/, and arrays of numbers as they come. What it has not:
parameters, optimiser, prompts, answers, verifier, hidden seed. It is no defence, since the candidate can change all of
it in its own process; the trainer believes nothing that comes from here before it is checked.
"""

# ruff: noqa: E402 - torch reads the environment when it is imported

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

# One CPU is granted: threads of linear algebra would only wait for each other, and that counts as CPU time.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

JOB = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
sys.path[:0] = [str(Path(__file__).parent), str(JOB / "channel")]

import channel  # pyright: ignore[reportMissingImports] -- laid beside us by the sandbox
import torch
from boundary.candidate_side import CandidateSide


def main() -> None:
    """Answer until the trainer ends."""
    torch.set_num_threads(1)
    entry = json.loads((JOB / "params.json").read_text())["entry"]
    try:
        side = CandidateSide(JOB / "candidate", entry)
    except BaseException as error:  # whatever the candidate's import raises, sys.exit too, is told to the trainer
        channel.refuse(error)
        raise
    channel.serve({"begin": side.begin, "compute_advantages": side.compute_advantages, "policy_loss": side.policy_loss})


main()
