"""The trainer as the Engineer starts it: beside a candidate in another process, with the files it leaves."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from asi_evolve.sandbox import channel

torch = pytest.importorskip("torch")
from .bed_lab import BASELINE, SHORT, program, runs, series  # noqa: E402
from .boundary_lab import FOLDER  # noqa: E402

RAISES = """
def compute_advantages(batch):
    return batch.rewards
def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    raise RuntimeError("no loss today")
"""
NOT_FINITE = RAISES.replace('raise RuntimeError("no loss today")', "return (logp / 0.0).sum()")
PARAMETERS = {**SHORT, "stress_steps": 1, "seeds_per_run": 2, "first_seed": 500}


def params(**changed):
    return {
        "stage": "explore",
        "seed": 3,
        "hidden_seed": 77,
        "entry": "algorithm.py",
        "parameters": PARAMETERS,
    } | changed


def start(job, candidate, **changed):
    """Trainer and stub over two pipes, as in two sandboxes; the trainer's status and what it printed."""
    for name in ("candidate", "channel", "out"):
        (job / name).mkdir()
    shutil.copy(channel.__file__, job / "channel" / "channel.py")
    (job / "candidate" / "algorithm.py").write_text(candidate)
    (job / "params.json").write_text(json.dumps(params(**changed)))
    (calls_out, calls_in), (answers_out, answers_in) = os.pipe(), os.pipe()
    stub = _start(job, "stub.py", calls_out, answers_in)
    trainer = _start(job, "harness.py", answers_out, calls_in)
    for end in (calls_out, calls_in, answers_out, answers_in):
        os.close(end)
    try:
        _, printed = trainer.communicate(timeout=1200)
    finally:
        for process in (trainer, stub):
            process.kill()
            process.communicate()
    return trainer.returncode, printed


def _start(job, script, reads, writes):
    return subprocess.Popen(
        [sys.executable, "-s", "-B", str(FOLDER / script), str(job)],
        pass_fds=(reads, writes),
        env={"CHANNEL_READ": str(reads), "CHANNEL_WRITE": str(writes), "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )


def comparable(content):
    content = {name: value for name, value in content.items() if not name.startswith("candidate_")}
    content["runs"] = [{**run, "cpu_seconds": None} for run in content["runs"]]
    return json.loads(json.dumps(content))


@pytest.mark.slow
def test_runs_over_the_channel_are_those_of_this_process_to_the_bit(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "here").mkdir()
    status, printed = start(tmp_path / "job", BASELINE.read_text())
    assert status == 0, printed
    settings = series.Settings.read(params())
    here = series.run_all(program("grpo"), settings, tmp_path / "here")
    told = json.loads((tmp_path / "job" / "out" / "runs.json").read_text())
    assert comparable(told) == comparable(here.content())
    begun, steps, minibatches = 6, 2 * (3 + 1 + 3), 2 * (3 * 4 + 1 * 32 + 3 * 4)
    assert told["candidate_calls"] == begun + steps + minibatches
    assert told["candidate_seconds"] > 0
    lines = (tmp_path / "job" / "out" / "progress.jsonl").read_text()
    assert lines == (tmp_path / "here" / "progress.jsonl").read_text()


@pytest.mark.parametrize(("program_text", "words"), [(RAISES, "no loss today"), (NOT_FINITE, "to be finite")])
def test_a_faulty_candidate_ends_the_trainer_as_its_fault(tmp_path, program_text, words):
    status, printed = start(tmp_path, program_text)
    assert status == channel.CANDIDATE_FAULT_STATUS
    assert words in printed
    assert not (tmp_path / "out" / "runs.json").exists()


def test_inner_seeds_come_from_the_seed_and_where_the_stage_begins():
    assert series.Settings.read(params()).inner_seeds == (3500, 3501)
    assert series.Settings.read(params(parameters={})).inner_seeds == (3000, 3001, 3002)


def test_without_a_hidden_seed_nothing_is_trained():
    """Everybody knows what is drawn from 0."""
    told = params()
    del told["hidden_seed"]
    with pytest.raises(KeyError, match="hidden_seed"):
        series.Settings.read(told)


def test_a_stage_that_says_nothing_has_the_three_regimes():
    settings = series.Settings.read(params(parameters={}))
    told = {
        one.name: (one.steps, one.epochs, one.minibatches, one.learning_rate, one.flipped) for one in settings.regimes
    }
    assert told == {
        "on_policy": (70, 2, 2, 5e-4, 0.0),
        "stress": (15, 8, 4, 1e-3, 0.0),
        "flipped": (70, 2, 2, 5e-4, 0.15),
    }
    assert {(one.prompts, one.samples) for one in settings.regimes} == {(24, 8)}
    assert settings.all_steps == 3 * 155


def test_runs_and_progress_are_left_as_they_come(tmp_path):
    settings = series.Settings.read(params())
    report = series.run_all(program("no_op"), settings, tmp_path)
    told = json.loads((tmp_path / "runs.json").read_text())
    assert (told["format"], told["stage"], told["seed"]) == (runs.FORMAT, "explore", 3)
    pairs = [(run["regime"], run["seed"]) for run in told["runs"]]
    assert pairs == [(name, seed) for seed in (3500, 3501) for name in ("on_policy", "stress", "flipped")]
    assert told == json.loads(json.dumps(report.content()))
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert (lines[0]["step"], lines[-1]["step"], lines[-1]["of"]) == (0, 14, 14)
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps) and [line["run"] for line in lines] == sorted(line["run"] for line in lines)
    assert all(len(line) <= 16 and all(type(value) in (int, float) for value in line.values()) for line in lines)
    for run in told["runs"]:
        assert run["curve"][0] == [0, run["warm"]["pass_at_1"]] and run["curve"][-1] == [run["steps"], run["pass_at_1"]]
        assert abs(sum(run["by_task"].values()) / 3 - run["pass_at_1"]) < 1e-9
