"""Runs in a fresh process beside the candidate: rebuilds the trained models and answers the questions in inputs/.

It sees questions and no answers, and nothing of the process that trained. It leaves out/predictions.npz with one array
`TASK@PERCENT` of float32 logits (rows, questions, vocabulary) for each checkpoint, and where the stage has downstream
tasks out/downstream.npz (see tasks/downstream.py), from the last model. Where nothing was trained, at stage
check or after a refusal, it leaves nothing and does not even import torch. By hand: `python predict.py JOB_FOLDER`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

sys.path.insert(0, str(Path(__file__).parent))

from skeleton import kernels


def main() -> None:
    """Predict for one job folder."""
    job = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
    if not (job / "checkpoint" / "models.json").is_file():
        return
    params = json.loads((job / "params.json").read_text())
    kernels.prepare_environment()
    predict(job, params)


def predict(job: Path, params: dict[str, Any]) -> None:
    """Load every checkpoint and ask it."""
    import numpy as np
    import torch
    from checks.tampering import check_tampering, watch
    from skeleton import checkpoint, mixers
    from tasks import downstream

    savez, seed_torch = np.savez, torch.manual_seed  # taken before the candidate is imported
    parameters = params["parameters"]
    # Written by a process that the candidate ran in: a larger model than was asked for would answer better.
    built, vocabularies, shares = checkpoint.read_models(job / "checkpoint")
    checkpoint.check_models(built, list(vocabularies), shares, parameters)
    device = str(parameters.get("device", "cpu"))
    if device == "cpu":
        torch.set_num_threads(1)
    kernels.install(str(parameters.get("kernels", "auto")))
    here = Path(__file__).resolve().parent
    baseline = mixers.maker(mixers.from_file(here / "baseline" / "mixer.py", "linear_attention_baseline"))
    most = checkpoint.most_parameters(built, baseline, int(parameters["mlp_width"]))
    watch(here)
    make = mixers.maker(mixers.load(job / "candidate", params["entry"]))
    predictions = {}
    for task, vocabulary in vocabularies.items():
        with np.load(job / "inputs" / f"{task}.npz", allow_pickle=False) as arrays:
            tokens, positions = arrays["tokens"], arrays["positions"]
        for share in shares:
            seed_torch(params["seed"])
            model = built.model(vocabulary, make).to(device)
            checkpoint.check_size(model, most)
            checkpoint.restore(job / "checkpoint" / f"{task}@{share}.pt", model, device)
            predictions[f"{task}@{share}"] = checkpoint.answer(
                model,
                tokens,
                positions,
                rows=int(parameters.get("answer_rows", 32)),
                device=device,
                precision=built.precision,
            )
            if task == "lm" and share == shares[-1] and parameters.get("downstream"):
                downstream.answer(
                    job,
                    model,
                    vocabulary,
                    length=int(parameters["lm_length"]),
                    rows=int(parameters.get("answer_rows", 32)),
                    device=torch.device(device),
                    precision=built.precision,
                )
    check_tampering()
    with (job / "out" / "predictions.npz").open("wb") as stream:
        savez(stream, **predictions)


if __name__ == "__main__":
    main()
