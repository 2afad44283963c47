"""The GPU stages: their sizes, what is said without a GPU, and their whole path on a CPU with a small model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from asi_evolve import domains
from asi_evolve.database import experiments, nodes
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.evolution.statistics import Mean

from ...sandbox.conftest import workspace  # noqa: F401  -- a fixture
from ...sandbox.engineering import add_campaign, at_work, daemon, finished

torch = pytest.importorskip("torch")
FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path[:0] = [str(FOLDER), str(FOLDER / "baseline")]

from tasks import downstream_requests as requests  # noqa: E402

DOMAIN = load_domain(FOLDER)
STAGES = {stage.name: stage for stage in DOMAIN.spec.stages}
TOKENS = 32_000

COUNT = """
import json, sys
sys.path[:0] = [{folder!r}, {folder!r} + "/baseline"]
from skeleton import kernels
kernels.install("stand_in")
import torch
from mixer import DeltaNet
from skeleton.mixers import maker
from skeleton.model import LanguageModel, parameters_of
counts = []
for width, layers, heads, mlp_width in json.loads(sys.argv[1]):
    with torch.device("meta"):
        model = LanguageModel({tokens}, width, layers, heads, maker(DeltaNet), mlp_width)
    counts.append(parameters_of(model))
print(counts)
"""


@pytest.mark.slow
def test_the_models_have_the_sizes_that_they_are_called_by():
    names = ("explore_gpu", "explore_gpu_paper", "verify_gpu", "final")
    shapes = [[STAGES[name].parameters[key] for key in ("width", "layers", "heads", "mlp_width")] for name in names]
    program = COUNT.format(folder=str(FOLDER), tokens=TOKENS)
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(shapes)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    small, paper, middle, large = json.loads(done.stdout)
    assert 22e6 < small == paper < 24e6
    assert 340e6 < middle < 380e6
    assert 1.3e9 < large < 1.4e9


def test_the_budgets_are_the_tokens_that_are_documented():
    def tokens(name):
        given = STAGES[name].parameters
        return given["lm_steps"] * given["lm_batch"] * given["lm_length"]

    assert 50e6 <= tokens("explore_gpu") <= 100e6
    assert STAGES["explore_gpu_paper"].parameters["lm_steps"] == 2000
    assert tokens("explore_gpu_paper") == pytest.approx(1e9, rel=0.05)
    assert 100e6 <= tokens("verify_gpu") <= 1.05e9
    for name in ("explore_gpu", "explore_gpu_paper", "verify_gpu", "final"):
        stage = STAGES[name]
        assert stage.gpus >= 1
        assert stage.on_request
        assert stage.parameters["device"] == "cuda"
        assert stage.parameters["lm_batch"] % (stage.gpus * stage.parameters["lm_part"]) == 0


# ---- without a GPU ----


@pytest.mark.anyio
async def test_an_experiment_at_a_gpu_stage_says_what_is_missing(workspace):  # noqa: F811
    """Scores there are relative to the baseline's, so it is the baseline that is tried first."""
    async with workspace.transaction() as tx:
        campaign = await add_campaign(tx, FOLDER, name="linear_attention")
        for name in ("baseline", "candidate"):
            new = nodes.NewNode(campaign, name, "m", dict(DOMAIN.baseline), name, is_baseline=name == "baseline")
            node = await nodes.add(tx, new)
            await nodes.set_score(tx, node, "explore", Mean(0.5, None, 1))
        number = await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore_gpu", seeds=[0])
    async with at_work(daemon(workspace)):
        end = await finished(workspace, number)
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "Stage explore_gpu needs 1 GPU(s), but the engineer has 0" in end.reason


class Job:
    """A job folder that is worked through by hand, at a GPU stage with other parameters."""

    def __init__(self, path, stage, **changes):
        self.path = path
        for name in ("candidate", "out", "outputs", "result", "checkpoint", "train", "inputs", "hidden"):
            (path / name).mkdir()
        for name, text in DOMAIN.baseline.items():
            (path / "candidate" / name).write_text(text)
        parameters = {**DOMAIN.spec.instances["default"], **STAGES[stage].parameters, **changes}
        params = {"stage": stage, "seed": 0, "hidden_seed": 7, "instance": "default", "parameters": parameters}
        (path / "params.json").write_text(json.dumps({**params, "entry": "mixer.py", "is_baseline": False}))

    def run(self, script):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-s", "-B", str(FOLDER / script), str(self.path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_harness_by_hand_says_that_there_is_no_gpu(tmp_path):
    done = Job(tmp_path, "verify_gpu").run("harness.py")
    assert done.returncode != 0
    assert "Expected a CUDA GPU that PyTorch" in done.stderr
    assert not list((tmp_path / "checkpoint").iterdir())


SMALL = {
    "device": "cpu",
    "width": 32,
    "heads": 2,
    "layers": 2,
    "mlp_width": 64,
    "pace_batch": 2,
    "pace_length": 64,
    "lm_length": 64,
    "lm_batch": 8,
    "lm_part": 2,
    "lm_steps": 8,
    "lm_train_bytes": 100_000,
    "lm_held_out_bytes": 20_000,
    "lm_audit_rows": 16,
    "downstream": "choices",
}


@pytest.mark.slow
def test_the_whole_path_of_verify_gpu_runs_on_a_cpu_with_two_processes(tmp_path):
    """bf16, parts, two processes that exchange gradients, checkpoints, downstream tasks: all but the device."""
    job = Job(tmp_path, "verify_gpu", **SMALL, processes=2)
    draw = np.random.default_rng(0)
    pairs = sorted((tuple(draw.integers(256, size=9).tolist()), (97 + choice, 10)) for choice in range(12))
    documents = [
        {"requests": [2 * at, 2 * at + 1], "characters": [1, 1], "right": [at % 2 == 0, at % 2 == 1]} for at in range(6)
    ]
    requests.save(tmp_path / "inputs", tmp_path / "hidden", pairs, {"choices": documents})
    for script in ("generator.py", "harness.py"):
        done = job.run(script)
        assert done.returncode == 0, (script, done.stderr[-3000:])
        for name in ("train", "inputs", "hidden"):
            if (tmp_path / "out" / name).is_dir():
                for file in (tmp_path / "out" / name).iterdir():
                    file.replace(tmp_path / name / file.name)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["precision"] == "bf16"
    assert report["tasks"]["lm"]["tokens"] == 8 * 8 * 64
    assert report["model_flops_per_token"] > 6 * 2 * 3 * 32 * 64
    assert report["mfu"] is None
    assert {path.name for path in (tmp_path / "checkpoint").iterdir()} >= {"lm@30.pt", "lm@60.pt", "lm@100.pt"}
    done = job.run("predict.py")
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("report.json", "predictions.npz", "downstream.npz"):
        (tmp_path / "out" / name).replace(tmp_path / "outputs" / name)
    done = job.run("evaluator.py")
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads((tmp_path / "result" / "metrics.json").read_text())
    assert "metrics" in answer, answer
    assert 4.0 < answer["metrics"]["lm_loss"] < 7.0
    assert 0.0 <= answer["metrics"]["downstream_accuracy"] <= 1.0
    table = json.loads((tmp_path / "result" / "comparison.json").read_text())["downstream"]
    assert table["choices"]["documents"] == 6
    (tmp_path / "outputs" / "downstream.npz").unlink()
    job.run("evaluator.py")
    assert json.loads((tmp_path / "result" / "metrics.json").read_text())["invalid"].startswith("downstream: Expected")
