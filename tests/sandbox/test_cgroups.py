"""A sandbox with a control group of its own, where this machine lets us make one."""

import os
from dataclasses import replace

import pytest
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.cgroups import Group, own_cgroup

from .conftest import LIMITS, SUBMIT


@pytest.fixture
def groups():
    """A folder in which groups can be made; whether controllers are there depends on the machine."""
    own = own_cgroup()
    if own is None:
        pytest.skip("this machine shows no cgroup v2")
    base = own / f"asi-evolve-test-{os.getpid()}"
    try:
        base.mkdir()
    except OSError as error:
        pytest.skip(f"no group can be made in {own}: {error.strerror}")
    yield base
    assert list(base.glob("*/")) == [], "a sandbox left its group behind"
    base.rmdir()


def test_a_job_runs_in_groups_that_are_gone_afterwards(lab, groups):
    end = lab.run("print(open('/proc/self/cgroup').read())\n" + SUBMIT, groups=str(groups))
    assert end.outcome is Outcome.SCORED, end.reason
    assert 0 < end.usage.cpu_seconds < 5
    # Inside its own namespace it is at the root of the tree: it does not see where that hangs.
    assert str(groups.name) not in lab.last().stdout.read_text()


def test_what_a_group_has_counted_is_the_cpu_time_of_a_job(lab, groups):
    code = """
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(2):
            if os.fork() == 0:
                while time.process_time() < 0.5: pass
                os._exit(0)
        time.sleep(2.5)
        open("/job/out/answer.txt", "w").write("42")
    """
    end = lab.run(code, groups=str(groups))
    assert end.outcome is Outcome.SCORED, end.reason
    assert end.usage.cpu_seconds > 0.9  # nobody waited for the children; the group counted them all the same


def test_a_bound_ends_all_that_is_in_the_group(lab, groups):
    forks = "import os, time\nfor _ in range(200):\n    if os.fork() == 0: time.sleep(30); os._exit(0)\ntime.sleep(30)"
    end = lab.run(forks, groups=str(groups), limits=replace(LIMITS, pids=16))
    assert end.outcome in (Outcome.LIMIT, Outcome.CANDIDATE_ERROR), end.reason


def test_a_group_that_cannot_be_made_is_our_fault(lab, tmp_path):
    end = lab.run(SUBMIT, groups=str(tmp_path / "nowhere"))
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR


def test_bounds_are_written_where_the_kernel_takes_them(tmp_path):
    """A folder with the files that a delegated group has: this machine may have no controller to try."""
    mark = 0x1000
    folder = tmp_path / f"job-{mark:x}"

    class Delegated(type(tmp_path)):
        """A tree in which making a folder makes its files, as in cgroupfs."""

        def mkdir(self, *arguments, **named):
            super().mkdir(*arguments, **named)
            for name in ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.procs"):
                (self / name).write_text("max")
            (self / "memory.events").write_text("low 0\noom 1\noom_kill 3\n")
            (self / "memory.peak").write_text("123000000")

    group = Group(Delegated(tmp_path), mark, LIMITS)
    assert (folder / "memory.max").read_text() == str(int(LIMITS.memory_mb * 1e6))
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "memory.oom.group").read_text() == "1"
    assert int((folder / "pids.max").read_text()) >= LIMITS.pids
    assert group.peak_memory() == 123e6
    assert group.limit().name == "memory"
