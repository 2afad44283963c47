"""The stages on a real model through the engine, and prepare.py as people call it."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.check_bench import CheckBench
from asi_evolve.sandbox.preparation import Grant

from ...sandbox.conftest import interpreter, isolation, tier, working_tiers  # noqa: F401  -- fixtures
from . import real_lab
from .boundary_lab import FOLDER, imported

(settings_of,) = imported("real.settings")

SMALL = {
    "steps": 4,
    "prompts": 4,
    "samples": 8,
    "minibatches": 2,
    "accumulate": 2,
    "epochs": 2,
    "learning_rate": 0.003,
    "max_completion": 3,
    "held_out_samples": 8,
    "evaluate_every": 2,
}
CURIOUS = """
import os
job = os.environ["JOB"]
for name in ("train", "harness", "out", "hidden"):
    assert not os.path.exists(os.path.join(job, name)), name
"""


def prepare(*arguments, folder=FOLDER):
    """prepare.py to its end."""
    command = [sys.executable, "-s", "-B", str(folder / "prepare.py"), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def bench(root, domain, isolation, interpreter, **parameters):  # noqa: F811
    """Jobs at stage verify with few steps."""
    found = load_domain(domain)
    stage = found.spec.stage("verify")
    assert stage is not None and stage.on_request
    stage = stage.model_copy(update={"parameters": {**stage.parameters, **SMALL, **parameters}})
    return CheckBench(root, found, stage, Grant(isolation, interpreter, 1, (), seed_key=bytes(32)))


@pytest.mark.slow
def test_without_a_model_the_stage_says_what_to_do(tmp_path, isolation, interpreter):  # noqa: F811
    shutil.copytree(FOLDER, tmp_path / "domain", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "jobs").mkdir()
    ran = bench(tmp_path / "jobs", tmp_path / "domain", isolation, interpreter).run({"algorithm.py": real_lab.BASELINE})
    assert ran.end.outcome is Outcome.INFRASTRUCTURE_ERROR
    wanted = ("data/train of this domain", "python prepare.py --domain")
    try:
        import trl  # noqa: F401
    except ImportError:
        wanted = ("the packages", "pip install 'asi-evolve-mcp[rl]'")
    assert all(words in ran.end.reason for words in wanted), ran.end.reason


def test_missing_packages_are_named_before_anything_is_imported():
    program = "import sys; sys.path.insert(0, sys.argv[1]); from real.missing import check_packages; check_packages()"
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", program, str(FOLDER)], capture_output=True, text=True)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "has no torch, transformers, trl, datasets, accelerate, math_verify" in line
    assert line.endswith("pip install 'asi-evolve-mcp[rl]'.")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"samples": 1}, "samples to be at least 2"),
        ({"prompts": 6, "minibatches": 4}, "divide prompts"),
        ({"steps": "many"}, "steps to be of type int"),
        ({"device": "tpu"}, "one of auto, cpu, cuda"),
        ({"learning_rate": True}, "learning_rate to be of type float"),
    ],
)
def test_settings_that_will_not_do_are_named(given, words):
    with pytest.raises(ValueError, match=words):
        settings_of.Settings.read(given)


@pytest.mark.parametrize("name", ["verify", "verify_gpu"])
def test_the_settings_of_the_stages_go_together(name):
    stage = load_domain(FOLDER).spec.stage(name)
    settings = settings_of.Settings.read(stage.parameters)
    assert settings.rows % settings.samples == 0 and settings.updates == settings.steps * settings.epochs * 2
    assert (settings.device == "cuda") == (stage.gpus == 1)


@pytest.mark.slow
def test_prepare_and_a_run_of_the_stage_end_to_end(tmp_path, isolation, interpreter):  # noqa: F811
    for package in ("torch", "trl", "math_verify"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'asi-evolve-mcp[rl]'")
    model = real_lab.make_model_folder(tmp_path / "model")
    (model / "model.safetensors").chmod(0o644)
    (model / "pytorch_model.bin").write_bytes(b"a pickle")
    sums = [{"prompt": f"{a}+{7 - a}=", "answer": "7"} for a in range(8)]
    real_lab.write_rows(tmp_path / "data" / "sums_train.jsonl", [*sums[:6], {"prompt": "?", "answer": ""}])
    real_lab.write_rows(tmp_path / "data" / "sums_test.jsonl", sums[5:])
    domain = tmp_path / "mine"
    shown = prepare("--domain", domain, "--model", model, "--data", tmp_path / "data")
    assert shown.returncode == 0, shown.stderr
    assert "Left out 1 problems" in shown.stdout and "model: qwen2" in shown.stdout
    train = domain / "data" / "train"
    assert (train / "model" / "model.safetensors").samefile(model / "model.safetensors")  # no gigabyte is copied
    assert not (train / "model" / "pytorch_model.bin").exists()
    found = {name: (train / f"{name}.jsonl").read_text().splitlines() for name in ("problems", "held_out")}
    prompts = {name: {json.loads(line)["prompt"] for line in lines} for name, lines in found.items()}
    assert len(prompts["problems"]) == 5 and len(prompts["held_out"]) == 3
    assert not prompts["problems"] & prompts["held_out"]

    (tmp_path / "jobs").mkdir()
    jobs = bench(tmp_path / "jobs", domain, isolation, interpreter)
    ran = jobs.run({"algorithm.py": real_lab.BASELINE + CURIOUS})
    assert ran.end.outcome is Outcome.SCORED, ran.end.reason
    report = json.loads(ran.outputs["runs.json"])
    (run,) = report["runs"]
    assert (run["regime"], run["seed"], run["steps"], report["stage"]) == ("real", 0, 4, "verify")
    assert [step for step, _ in run["curve"]] == [0, 1, 2, 4]
    assert report["candidate_calls"] == 1 + 4 + 4 * 2 * 2 * 2  # begin, a batch a step, and each part of a minibatch
    assert ran.end.metrics["pass_at_1"] == ran.end.metrics["pass_at_1_real"] == run["pass_at_1"]
    assert run["kl"] > 0 and run["by_task"].keys() == {"sums_test"}

    (tmp_path / "more").mkdir()
    wrong = bench(tmp_path / "more", domain, isolation, interpreter).run(
        {"algorithm.py": real_lab.BASELINE + "\n\ndef compute_advantages(batch):\n    return batch.rewards / 0\n"}
    )
    assert wrong.end.outcome is Outcome.CANDIDATE_ERROR
    assert "finite" in wrong.end.reason


def test_prepare_says_what_is_wrong_and_leaves_things_as_they_were(tmp_path):
    assert "--model, --data or --check" in prepare("--domain", tmp_path / "a").stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").write_text("mine")
    refused = prepare("--domain", tmp_path / "other", "--model", tmp_path)
    assert refused.returncode == 1 and "got something else" in refused.stderr
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thing"]
    refused = prepare("--domain", tmp_path / "copy", "--model", tmp_path)
    assert "no config.json" in refused.stderr
    assert (tmp_path / "copy" / "domain.toml").is_file()
    checked = prepare("--domain", tmp_path / "copy", "--check")
    assert checked.returncode == 1 and "Still missing" in checked.stderr
