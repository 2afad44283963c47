"""One program per GPU: what starts them, in and out of the sandbox. Here with gloo and two processes of a CPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from asi_evolve import domains
from asi_evolve.evolution.outcomes import Outcome

from ...sandbox.conftest import interpreter, shapes, tier, working_tiers  # noqa: F401  -- fixtures

pytest.importorskip("torch")

FOLDER = Path(domains.__file__).parent / "linear_attention"
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1] + "/harness")
from training import launch
if launch.wanted("cpu", 2) > 1 and not launch.is_worker():
    sys.exit(launch.start(__file__, sys.argv[1:], 2))
from training import trainer
place = trainer.place_for("cpu")
total = trainer._total(place.rank + 1, place)
trainer.leave()
if (place.rank, sys.argv[2:]) == (1, ["fail"]):
    sys.exit("the second process fails")
if place.is_first:
    with open(sys.argv[1] + "/out/number.json", "w") as stream:
        json.dump([place.processes, total], stream)
"""
EVALUATOR = """
import json, sys
processes, total = json.load(open(sys.argv[1] + "/outputs/number.json"))
json.dump({"metrics": {"value": 10 * processes + total}}, open(sys.argv[1] + "/result/metrics.json", "w"))
"""
DOMAIN = """
default_stage = "explore"
[domain]
name = "together"
version = "1"
title = "Two processes that add up their numbers"
summary = "For the test of launch.py in the sandbox."
requirements = ["numpy", "torch"]
[candidate]
entry = "number.py"
[scripts]
harness_files = ["training"]
[outputs.number]
file = "number.json"
max_bytes = 1000
[metrics.value]
description = "The number"
[fitness]
metric = "value"
[[stages]]
name = "explore"
cpu_seconds = 60
memory_mb = 4000
pids = 256
"""


def _program(tmp_path: Path) -> Path:
    (tmp_path / "harness").mkdir()
    (tmp_path / "out").mkdir()
    shutil.copytree(FOLDER / "training", tmp_path / "harness" / "training")
    (tmp_path / "harness" / "harness.py").write_text(PROGRAM)
    return tmp_path / "harness" / "harness.py"


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others_and_the_whole(tmp_path):
    program = _program(tmp_path)
    command = [sys.executable, str(program), str(tmp_path), "fail"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode != 0
    assert "the second process fails" in done.stderr


@pytest.mark.slow
def test_two_processes_meet_inside_the_sandbox_where_it_has_a_network_of_its_own(shapes, tmp_path):  # noqa: F811
    from asi_evolve.sandbox.interpreter import describe_interpreter

    domain = tmp_path / "domain"
    (domain / "baseline").mkdir(parents=True)
    (domain / "domain.toml").write_text(DOMAIN)
    (domain / "brief.md").write_text("Nothing.")
    (domain / "baseline" / "number.py").write_text("")
    (domain / "harness.py").write_text(PROGRAM)
    (domain / "evaluator.py").write_text(EVALUATOR)
    shutil.copytree(FOLDER / "training", domain / "training")
    shapes.grant = replace(shapes.grant, interpreter=describe_interpreter(sys.executable, ("numpy", "torch")))
    end = shapes.run(domain)
    if shapes.grant.isolation.fields()["tier"] == "landlock":
        assert end.outcome is Outcome.CANDIDATE_ERROR
        assert "Expected a loopback device" in shapes.last().stderr.read_text()
    else:
        assert end.outcome is Outcome.SCORED, (end.reason, shapes.last().stderr.read_text()[-2000:])
        assert end.metrics["value"] == 23.0
