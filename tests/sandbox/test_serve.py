"""Shape `serve`: a trainer and a candidate in two sandboxes, and a supervisor that says whose fault it was."""

import json
import os
import signal
from dataclasses import replace

import pytest
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.processes import end_orphans, start_supervisor

from ..waiting import until
from .shape_lab import TREE
from .test_outcomes import is_alive, supervised_processes

RULE = "import numpy as np\ndef update(logits, actions, rewards):\n    {}\n"


def rule(body="return np.zeros_like(logits)", top=""):
    """A candidate with this body."""
    return {"rule.py": f"import json, os, sys, time\n{top}\n" + RULE.format(body.strip().replace("\n", "\n    "))}


def test_a_rule_is_trained_with_and_scored(shapes):
    end = shapes.run("bandit")
    assert end.outcome is Outcome.SCORED, end.reason
    assert end.metrics["reward"] > 0.75
    assert shapes.run("bandit", rule()).metrics["reward"] == pytest.approx(0.5)
    assert end.usage.peak_pids >= 2


def test_the_candidate_has_nothing_of_the_trainers(shapes):
    look = """
if not sys.argv.count("seen"):
    sys.argv.append("seen")
    mine = [name for name in os.listdir("/proc") if name.isdigit() and os.access(f"/proc/{name}/mem", os.R_OK)]
    commands = [open(f"/proc/{name}/cmdline").read() for name in mine]
    print(json.dumps([tree(), json.load(open(os.environ["JOB"] + "/params.json")), commands, sorted(os.environ)]))
return np.zeros_like(logits)"""
    end = shapes.run("bandit", rule(look, TREE))
    assert end.outcome is Outcome.SCORED, end.reason
    files, params, commands, environment = shapes.said()
    assert files == ["candidate/rule.py", "channel/channel.py", "params.json"]
    assert "hidden_seed" not in params
    assert not [command for command in commands if "trainer" in command]
    assert {"CHANNEL_READ", "CHANNEL_WRITE"} < set(environment)


def test_the_trainers_memory_and_its_end_of_the_pipes_are_out_of_reach(shapes):
    """It tries every process that it can name, and every descriptor that it has."""
    look = """
if not sys.argv.count("seen"):
    sys.argv.append("seen")
    reached = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) == os.getpid(): continue
        for file, size in (("mem", 1), ("environ", 1), ("maps", 1)):
            try:
                with open(f"/proc/{name}/{file}", "rb") as stream:
                    command = open(f"/proc/{name}/cmdline").read()
                    if file != "mem" and stream.read(size): reached.append([name, file, command])
            except OSError: pass
        try: reached += [os.readlink(f"/proc/{name}/fd/{n}") for n in os.listdir(f"/proc/{name}/fd")]
        except OSError: pass
        if int(name) > 1:  # which is its own namespace's, or the host's
            try: os.kill(int(name), 0)
            except OSError: continue
            reached.append([name, "signal", ""])
    ends = [os.readlink(f"/proc/self/fd/{n}") for n in (os.environ["CHANNEL_READ"], os.environ["CHANNEL_WRITE"])]
    held = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{n}")]
    print(json.dumps([[line for line in reached if "trainer" in str(line) or "signal" in line], len(set(ends)),
                      len([name for name in held if name.startswith("pipe:")])]))
return np.zeros_like(logits)"""
    end = shapes.run("bandit", rule(look))
    assert end.outcome is Outcome.SCORED, (end.reason, shapes.last().stderr.read_text())
    reached, ends, pipes = shapes.said()
    assert reached == []
    assert ends == 2
    assert pipes == 4  # stdout, stderr, and its two ends


def test_the_trainer_has_nothing_of_the_candidates(shapes):
    trainer = (shapes.lay_down("bandit").harness / "trainer.py").read_text()
    end = shapes.run(
        "bandit", scripts={"harness/trainer.py": f"{TREE}\nimport json\nprint(json.dumps(tree()))\n{trainer}"}
    )
    assert end.outcome is Outcome.SCORED, end.reason
    assert shapes.said("trainer") == ["channel/channel.py", "harness/trainer.py", "params.json"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise ValueError('no such arm')", "ValueError: no such arm"),
        ("return np.zeros(3)", "float64[3]"),
        ("return np.zeros_like(logits) * np.nan", "finite update"),
        ("return 'text'", "Expected array value of a type"),
        ("os._exit(0)", "exit status 0"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("sys.exit(3)", "exit status 3"),
        ("os.write(int(os.environ['CHANNEL_WRITE']), b'junk' * 1000); time.sleep(60)", "Expected a frame"),
        ("while True: os.write(int(os.environ['CHANNEL_WRITE']), bytes(10**6))", "Expected a frame"),
    ],
    ids=["raises", "shape", "nan", "text", "leaves", "segfault", "exits", "junk", "floods"],
)  # fmt: skip
def test_a_candidate_that_fails_is_told_in_its_own_words(shapes, body, told):
    end = shapes.run("bandit", rule(body))
    assert end.outcome is Outcome.CANDIDATE_ERROR, end.reason
    assert told in end.reason
    assert end.metrics == {}
    assert end.limit is None


def test_a_candidate_that_cannot_be_imported_is_told(shapes):
    end = shapes.run("bandit", {"rule.py": "update = 1\nimport no_such_module\n"})
    assert end.outcome is Outcome.CANDIDATE_ERROR
    assert "no_such_module" in end.reason
    assert "no_such_module" in shapes.last().stderr.read_text()


def test_a_candidate_that_hangs_is_given_up_by_the_trainers_clock(shapes):
    trainer = (shapes.lay_down("bandit").harness / "trainer.py").read_text().replace("timeout=10", "timeout=1")
    end = shapes.run("bandit", rule("time.sleep(60)"), scripts={"harness/trainer.py": trainer})
    assert end.outcome is Outcome.CANDIDATE_ERROR
    assert "CandidateHung" in end.reason
    assert "alive" in end.reason
    assert end.usage.wall_seconds < 30


def test_a_bound_that_the_candidate_passes_is_its_limit_and_the_trainer_lives_to_say_so(shapes):
    bomb = "keep = []\nwhile True: keep.append(b'x' * 4_000_000)"
    end = shapes.run("bandit", rule(bomb))
    assert end.outcome is Outcome.LIMIT, end.reason
    assert end.limit.name == "memory"
    assert end.limit.allowed == 300
    assert "candidate's process" in end.reason
    assert "CandidateGone" in shapes.last().trainer_log.read_text()
    slow = replace(shapes.spec().second_limits, cpu_seconds=1.5)
    end = shapes.run("bandit", rule("while True: pass"), second_limits=slow)
    assert (end.outcome, end.limit.name) == (Outcome.LIMIT, "cpu")
    forks = "while True:\n    if os.fork() == 0: time.sleep(60)"
    end = shapes.run("bandit", rule(forks), second_limits=replace(slow, pids=12))
    assert (end.outcome, end.limit.name) == (Outcome.LIMIT, "pids")


def test_what_a_candidate_prints_is_its_own_log_and_bounded(shapes):
    end = shapes.run("bandit", rule("print('trainer failed', 86); return np.zeros_like(logits)"))
    assert end.outcome is Outcome.SCORED, end.reason
    assert "trainer failed 86" in shapes.last().stdout.read_text()
    assert shapes.last().trainer_log.read_text() == ""
    end = shapes.run("bandit", rule("while True: print('x' * 10**6)"), second_limits=replace(
        shapes.spec().second_limits, output_mb=2))  # fmt: skip
    assert (end.outcome, end.limit.name) == (Outcome.LIMIT, "output")


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        ("raise RuntimeError('the trainer fell over')", "the trainer fell over"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("raise SystemExit(87)", "exit status 87"),
    ],
)
def test_a_trainer_that_fails_is_never_the_candidates_fault(shapes, trainer, told):
    end = shapes.run("bandit", scripts={"harness/trainer.py": trainer})
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "The trainer failed" in end.reason
    assert told in end.reason
    assert "The candidate's process" in end.reason


def test_a_trainer_may_go_on_without_its_candidate(shapes):
    """What a death means is for trainer and evaluator to say."""
    trainer = (shapes.lay_down("bandit").harness / "trainer.py").read_text()
    trainer = trainer.replace("    answer = candidate.call(", "    try:\n      answer = candidate.call(")
    trainer = trainer.replace(
        '    change = answer["value"]', '    except Exception: continue\n    change = answer["value"]'
    )
    end = shapes.run("bandit", rule("os._exit(1)"), scripts={"harness/trainer.py": trainer})
    assert end.outcome is Outcome.SCORED, end.reason
    assert end.metrics["reward"] == pytest.approx(0.5)


def test_a_domain_can_bring_its_own_stub(shapes):
    stub = (
        "import sys\nsys.path[:0] = [sys.argv[1] + '/channel', sys.argv[1] + '/candidate']\n"
        "import channel, rule\nchannel.serve({'update': lambda **arrays: 2 * rule.half(**arrays)})\n"
    )
    job = shapes.lay_down("bandit", rule(top="def half(logits, actions, rewards): return np.ones_like(logits) / 2"))
    job.stub.mkdir()
    (job.stub / "stub.py").write_text(stub)
    spec = replace(job.read_spec(), stub="stub.py")
    job.spec.write_text(spec.to_json())
    assert start_supervisor(job).wait(60) == 0
    assert job.read_exit().outcome is Outcome.SCORED, job.read_exit().reason


def test_a_job_is_cancelled_in_both_sandboxes(shapes):
    job = shapes.lay_down("bandit", rule("print('up', flush=True)\ntime.sleep(60)"))
    supervisor = start_supervisor(job)
    sandboxed = until(lambda: len(found := supervised_processes(supervisor.pid)) >= 4 and found)
    os.kill(job.supervisor_pid(), signal.SIGTERM)
    assert supervisor.wait(20) == 0
    assert job.read_exit().outcome is Outcome.CANCELLED
    assert not any(is_alive(pid) for pid in sandboxed)


def test_a_killed_supervisor_takes_both_sandboxes_along(shapes):
    job = shapes.lay_down("bandit", rule("time.sleep(60)"))
    supervisor = start_supervisor(job)
    sandboxed = until(lambda: len(found := supervised_processes(supervisor.pid)) >= 4 and found)
    supervisor.kill()
    supervisor.wait()
    end_orphans(job.read_spec().token)  # the daemon does, which tier landlock needs
    until(lambda: not any(is_alive(pid) for pid in sandboxed), 10)
    assert json.loads(job.spec.read_text())["shape"] == "serve"
    assert job.liveness() == "died"
