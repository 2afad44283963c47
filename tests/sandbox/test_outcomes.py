"""How a job ends, and what is told about it."""

import os
import signal
import time

import pytest
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.jobs import ArtifactRule, OutputRule
from asi_evolve.sandbox.processes import start_supervisor

from ..waiting import until
from .conftest import EVALUATOR, SUBMIT


def test_an_honest_run_is_scored_and_says_where_it_ran(lab):
    end = lab.run("print('hello')\n" + SUBMIT)
    assert (end.outcome, end.reason, end.metrics) == (Outcome.SCORED, "", {"value": 42.0})
    assert end.token == lab.spec.token
    assert end.artifacts == ("outputs/answer.txt",)
    assert {"python", "numpy", "platform", "cpu", "tier", "evaluator_sha256"} <= set(end.environment)
    assert end.environment["tier"] == "bwrap"
    assert 0 < end.usage.cpu_seconds < 5
    assert end.usage.peak_pids >= 1
    assert lab.last().stdout.read_text() == "hello\n"
    assert lab.last().liveness() == "exited"


def test_a_crash_names_the_status_and_the_last_words(lab):
    end = lab.run("raise ValueError('no such ring')")
    assert end.outcome is Outcome.CANDIDATE_ERROR
    assert "exit status 1" in end.reason
    assert "no such ring" in end.reason
    assert end.metrics == {}


def test_a_signal_is_named_and_leaves_no_core(lab):
    end = lab.run("import ctypes; ctypes.string_at(0)")
    assert end.outcome is Outcome.CANDIDATE_ERROR
    assert "SIGSEGV" in end.reason
    assert not list(lab.last().out.iterdir())


def test_a_run_that_fails_after_it_wrote_its_answer_has_no_score(lab):
    end = lab.run(SUBMIT + "raise SystemExit(3)")
    assert (end.outcome, end.metrics) == (Outcome.CANDIDATE_ERROR, {})


def test_a_missing_output_is_invalid_and_an_optional_one_may_be_missing(lab):
    end = lab.run("pass")
    assert end.outcome is Outcome.INVALID_OUTPUT
    assert "answer.txt" in end.reason
    optional = OutputRule("plot.svg", 1000, False, None)
    assert lab.run(SUBMIT, outputs=(*lab.spec.outputs, optional)).outcome is Outcome.SCORED


def test_what_is_printed_decides_nothing(lab):
    end = lab.run('print(\'{"metrics": {"value": 1e9}}\'); print("SCORED")')
    assert end.outcome is Outcome.INVALID_OUTPUT


def test_the_evaluator_can_refuse_with_a_sentence(lab):
    end = lab.run('open("/job/out/answer.txt", "w").write("forty")')
    assert (end.outcome, end.reason) == (Outcome.INVALID_OUTPUT, "Expected digits.")


@pytest.mark.parametrize(
    "evaluator",
    [
        "raise RuntimeError('the judge fell over')",
        "pass",
        "open('/job/result/metrics.json', 'w').write('{\"metrics\": {\"value\": NaN}}')",
        "open('/job/result/metrics.json', 'w').write('{\"metrics\": {\"value\": 1e999}}')",
        "open('/job/result/metrics.json', 'w').write('{\"metrics\": {\"value\": true}}')",
        "open('/job/result/metrics.json', 'w').write('[' * 900000)",
        "open('/job/result/metrics.json', 'w').write(' ' * 1000001)",
        "import os; os.symlink('/job/params.json', '/job/result/metrics.json')",
    ],
    ids=["crash", "silence", "nan", "infinity", "bool", "nesting", "too large", "link"],
)
def test_a_broken_evaluator_is_never_the_candidates_fault(lab, evaluator):
    end = lab.run(SUBMIT, evaluator=evaluator)
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert end.reason
    assert not end.outcome.counts_against_candidate


def test_an_evaluator_that_hangs_is_stopped(lab):
    from dataclasses import replace

    limits = replace(lab.spec.evaluator_limits, wall_seconds=0.5)
    end = lab.run(SUBMIT, evaluator="import time; time.sleep(60)", evaluator_limits=limits)
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "evaluator" in end.reason
    assert end.limit is None


def test_artifacts_are_listed_when_they_are_there_and_small_enough(lab):
    evaluator = EVALUATOR + "open('/job/result/a.svg', 'w').write('x' * 50)\nopen('/job/result/b', 'w').write('x' * 50)"
    rules = (ArtifactRule("a.svg", 100), ArtifactRule("b", 10), ArtifactRule("c", 10))
    assert lab.run(SUBMIT, evaluator=evaluator, artifacts=rules).artifacts == ("outputs/answer.txt", "result/a.svg")


def test_a_sandbox_that_cannot_start_is_our_fault(lab):
    end = lab.run(SUBMIT, isolation=lab.spec.isolation | {"binary": "/nonexistent/bwrap"})
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "sandbox" in end.reason


def test_a_flood_of_output_keeps_head_and_tail(lab):
    end = lab.run("for i in range(40000): print(f'line {i:06}')\n" + SUBMIT)
    assert end.outcome is Outcome.SCORED
    log = lab.last().stdout.read_text()
    assert log.startswith("line 000000")
    assert log.endswith("line 039999\n")
    assert "... 400000 bytes left out ..." in log


def test_the_log_is_inert_text(lab):
    lab.run(r"import os; os.write(1, b'\x1b[2Jclear\x00 \xff ' + '\u202eback'.encode())" + "\n" + SUBMIT)
    assert lab.last().stdout.read_text() == "[2Jclear \\xff back"


def test_sigterm_cancels(lab):
    job = lab.lay_down("import time; print('up', flush=True); time.sleep(60)")
    supervisor = start_supervisor(job)
    until(lambda: supervised_processes(supervisor.pid))
    assert job.liveness() == "running"
    os.kill(job.supervisor_pid(), signal.SIGTERM)
    assert supervisor.wait(10) == 0
    assert job.read_exit().outcome is Outcome.CANCELLED


def test_a_killed_supervisor_takes_its_sandbox_along(lab):
    job = lab.lay_down("import time; time.sleep(60)")
    supervisor = start_supervisor(job)
    sandboxed = until(lambda: len(found := supervised_processes(supervisor.pid)) >= 3 and found)
    supervisor.kill()
    supervisor.wait()
    assert job.liveness() == "died"
    until(lambda: not any(is_alive(pid) for pid in sandboxed), 5)


def test_a_process_left_behind_is_dead_when_the_job_ends(lab):
    candidate = """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for descriptor in range(64):
                    try:
                        os.close(descriptor)
                    except OSError:
                        pass
                while True:
                    time.sleep(0.01)
                    open("/job/out/alive", "w").write(str(time.time()))
            os._exit(0)
        os.wait()
        time.sleep(0.3)
        open("/job/out/answer.txt", "w").write("42")
    """
    assert lab.run(candidate).outcome is Outcome.SCORED
    mark = lab.last().out / "alive"
    before = mark.read_text()
    time.sleep(0.2)
    assert mark.read_text() == before


def supervised_processes(pid: int) -> list[int]:
    """The descendants of a process."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        try:
            with open(f"/proc/{parent}/task/{parent}/children") as stream:
                children = [int(child) for child in stream.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += children
        waiting += children
    return found


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    "trick",
    [
        "os.symlink('/etc/hostname', '/job/out/answer.txt')",
        "os.mkfifo('/job/out/answer.txt')",
        "os.mkdir('/job/out/answer.txt')",
        "open('/job/out/a', 'w').write('1'); os.link('/job/out/a', '/job/out/answer.txt')",
        "open('/job/out/answer.txt', 'w').write('1' * 2000)",
    ],
    ids=["link", "pipe", "folder", "second name", "too large"],
)
def test_only_a_plain_file_of_the_declared_size_is_taken_over(lab, trick):
    end = lab.run(f"import os\n{trick}")
    assert end.outcome is Outcome.INVALID_OUTPUT
    assert "answer.txt" in end.reason
    assert end.metrics == {}


def test_data_that_is_missing_is_our_fault(lab):
    end = lab.run(SUBMIT, public_data="/nonexistent/data")
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "/nonexistent/data" in end.reason


def test_a_cancel_before_the_sandbox_is_up_is_heard(lab):
    job = lab.lay_down("import time; time.sleep(60)")
    process = start_supervisor(job)
    until(job.supervisor_pid)
    process.terminate()
    process.wait(20)
    assert job.read_exit().outcome is Outcome.CANCELLED


def test_the_same_program_sees_the_same_hashes(lab):
    for _ in range(2):
        end = lab.run("print(hash('a'))\n" + SUBMIT)
        assert end.outcome is Outcome.SCORED
    first = (lab.root / "e1-check-0-1" / "stdout.log").read_text()
    assert first == lab.last().stdout.read_text()


def test_localhost_has_a_name(lab):
    end = lab.run("import socket\nassert socket.gethostbyname('localhost') == '127.0.0.1'\n" + SUBMIT)
    assert end.outcome is Outcome.SCORED, end.reason
