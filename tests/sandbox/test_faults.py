"""What breaks around a job, and what its experiment then ends as: the right outcome, the cause in words, and the queue
goes on."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from asi_evolve.database import experiments
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.isolation import marks
from asi_evolve.sandbox.jobs import JobFolder

from ..waiting import until, until_async
from .conftest import EVALUATOR, SUBMIT
from .engineering import at_work, daemon, finished, order

STARTED = "open('/job/out/started', 'w').close()"


async def its_folder(workspace, number):
    """The folder of an experiment's job, once the candidate runs."""
    started = await until_async(lambda: list(workspace.paths.jobs.glob(f"e{number}-*/out/started")))
    return JobFolder(started[0].parent.parent)


async def scores_afterwards(workspace):
    """Whether the queue goes on."""
    found = await finished(workspace, await order(workspace))
    return found.outcome is Outcome.SCORED


@pytest.mark.anyio
@pytest.mark.usefixtures("isolation")
class TestAroundTheDaemon:
    async def test_a_job_whose_folder_is_deleted_is_lost(self, workspace):
        async with at_work(daemon(workspace)):
            number = await order(workspace, seconds=60, before=STARTED)
            job = await its_folder(workspace, number)
            token = job.read_spec().token
            shutil.rmtree(job.path, ignore_errors=True)
            found = await finished(workspace, number)
            assert found.outcome is Outcome.LOST, found.reason
            assert "folder was removed" in found.reason
            assert marks.marked(marks.first_mark(token)) == []
            assert await scores_afterwards(workspace)

    async def test_a_supervisor_that_was_stopped_goes_on(self, workspace):
        async with at_work(daemon(workspace, woken_after_s=2.5)):
            number = await order(workspace, seconds=1, before=STARTED)
            job = await its_folder(workspace, number)
            os.kill(job.supervisor_pid(), signal.SIGSTOP)
            assert (await finished(workspace, number)).outcome is Outcome.SCORED

    async def test_a_supervisor_that_does_not_answer_is_lost_with_all_it_ran(self, workspace):
        async with at_work(daemon(workspace, woken_after_s=1000, lost_after_s=3)):
            number = await order(workspace, seconds=60, before=STARTED)
            job = await its_folder(workspace, number)
            token = job.read_spec().token
            os.kill(job.supervisor_pid(), signal.SIGSTOP)
            found = await finished(workspace, number)
            assert found.outcome is Outcome.LOST, found.reason
            assert "no sign of life for 3 s" in found.reason
            assert marks.marked(marks.first_mark(token)) == []
            assert await scores_afterwards(workspace)

    async def test_every_outcome_of_a_fault_counts_for_the_machine_and_can_be_run_again(self, workspace):
        async with at_work(daemon(workspace)):
            number = await order(workspace, seconds=60, before=STARTED)
            job = await its_folder(workspace, number)
            os.kill(job.supervisor_pid(), signal.SIGKILL)
            found = await finished(workspace, number)
            assert found.outcome is Outcome.LOST, found.reason
            assert not found.outcome.counts_against_candidate
            (run,) = await experiments.evaluations(workspace.read, [number])
            assert run.evaluation.score is None


FILLER = """
with open("/job/out/filler", "wb", buffering=0) as stream:
    while True:
        stream.write(b"x" * 4096)
"""


def test_a_disk_that_fills_up_while_a_job_writes_is_not_the_candidates_fault(lab, small_disk):
    place, _ = small_disk
    lab.root = place
    end = lab.run(FILLER)
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "disk" in end.reason
    assert "full" in end.reason


def test_an_evaluator_that_floods_its_log_is_stopped_and_is_our_fault(lab):
    flood = "for _ in range(16_000): print('x' * 65_536)\n" + EVALUATOR
    end = lab.run(SUBMIT, evaluator=flood)
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "output" in end.reason
    assert lab.last().evaluator_log.stat().st_size < 200_000


@pytest.mark.parametrize(
    ("evaluator", "bounds", "words"),
    [
        ("import os; os.abort()", {}, "SIGABRT"),
        ("import time; time.sleep(60)", {"wall_seconds": 1.5}, "wall"),
        ("while True: pass", {"cpu_seconds": 0.8}, "cpu"),
    ],
)
def test_an_evaluator_that_dies_or_hangs_is_our_fault(lab, evaluator, bounds, words):
    tight = replace(lab.spec.evaluator_limits, **bounds)
    end = lab.run(SUBMIT, evaluator=evaluator, evaluator_limits=tight)
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert words in end.reason
    assert "evaluator" in end.reason


def test_a_harness_that_succeeds_without_outputs_is_invalid(lab):
    end = lab.run("pass", harness="raise SystemExit(0)")
    assert end.outcome is Outcome.INVALID_OUTPUT
    assert "answer.txt" in end.reason


JUMPING_CLOCK = """
import itertools, sys, time
true, calls = time.time, itertools.count()
time.time = lambda: true() + (-1e6, 86400.0, 0.0, 3.15e8)[next(calls) % 4]
sys.argv[0] = "supervisor"
from asi_evolve.sandbox.supervisor import main
sys.exit(main())
"""


def test_clock_jumps_change_no_bound_and_no_figure(lab):
    """Also ten years ahead and back, at every look at the clock of the wall."""
    job = lab.lay_down("import time; time.sleep(0.3)\n" + SUBMIT)
    lock = os.open(job.lock, os.O_RDWR | os.O_CREAT, 0o600)
    command = [sys.executable, "-I", "-c", JUMPING_CLOCK, str(job.path), "--lock-fd", str(lock)]
    assert subprocess.run(command, pass_fds=[lock], timeout=60).returncode == 0
    os.close(lock)
    end = job.read_exit()
    assert end.outcome is Outcome.SCORED, end.reason
    assert 0.3 < end.usage.wall_seconds < 30
    assert 0 < end.usage.cpu_seconds < 10


def test_the_disk_is_looked_at_before_anybody_is_blamed(lab, small_disk):
    """A candidate's own mistake on a disk with room stays its own."""
    end = lab.run("raise ValueError('mine')")
    assert end.outcome is Outcome.CANDIDATE_ERROR
    until(lambda: lab.last().liveness() == "exited")


def test_a_program_that_waits_for_what_its_tier_cannot_give_is_told_so(lab, working_tiers):
    if "landlock" not in working_tiers:
        pytest.skip("this machine has no tier landlock")
    limits = replace(lab.spec.limits, wall_seconds=1)
    sleep = "import time; time.sleep(60)"
    end = lab.run("", harness=sleep, isolation=working_tiers["landlock"], limits=limits)
    assert end.outcome is Outcome.LIMIT
    assert "tier landlock shares" in end.reason
    assert "tier landlock" not in lab.run("", harness=sleep, limits=limits).reason
