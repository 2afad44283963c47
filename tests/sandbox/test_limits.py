"""Every bound ends a run, by its own name."""

from dataclasses import replace

import pytest
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.isolation import from_fields

from .conftest import LIMITS, SUBMIT


@pytest.fixture(params=["bwrap", "userns"], scope="module")
def isolation(request, working_tiers):
    """Both tiers with namespaces keep all of this alike."""
    if request.param not in working_tiers:
        pytest.skip(f"this machine has no tier {request.param}")
    return from_fields(working_tiers[request.param])


FORKS = """
import os, signal, time
{prepare}
while True:
    if (child := os.fork()) == 0:
        end = time.monotonic() + {life}
        while time.monotonic() < end: pass
        os._exit(0)
    {after}
"""


def limit_of(lab, candidate, **bounds):
    end = lab.run(candidate, limits=replace(LIMITS, **bounds))
    assert end.outcome is Outcome.LIMIT, (end.outcome, end.reason)
    assert end.limit is not None
    assert end.limit.used >= end.limit.allowed
    assert end.limit.name in end.reason
    return end


def test_cpu_of_a_busy_loop(lab):
    end = limit_of(lab, "while True: pass", cpu_seconds=0.6)
    assert end.limit.name == "cpu"
    assert end.usage.cpu_seconds < 1.5


def test_cpu_of_children_that_are_waited_for(lab):
    candidate = FORKS.format(prepare="", life=0.005, after="os.waitpid(child, 0)")
    end = limit_of(lab, candidate, cpu_seconds=0.8, wall_seconds=8)
    assert end.limit.name == "cpu"


def test_cpu_of_children_that_nobody_waits_for(lab):
    prepare = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    candidate = FORKS.format(prepare=prepare, life=0.2, after="time.sleep(0.2)")
    assert limit_of(lab, candidate, cpu_seconds=0.8, wall_seconds=10).limit.name == "cpu"


def test_cpu_of_orphans(lab):
    candidate = (
        "import os, time\nif os.fork(): time.sleep(60)\nos.setsid()\nif os.fork(): os._exit(0)\nwhile True: pass"
    )
    assert limit_of(lab, candidate, cpu_seconds=0.6, wall_seconds=8).limit.name == "cpu"


def test_wall_time_of_a_sleeper(lab):
    assert limit_of(lab, "import time; time.sleep(60)", wall_seconds=0.7).limit.name == "wall"


def test_signals_ignored_are_no_way_out(lab):
    candidate = "import signal, time\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\ntime.sleep(60)"
    assert limit_of(lab, candidate, wall_seconds=0.7).limit.name == "wall"


def test_memory_of_one_process(lab):
    candidate = "keep = []\nwhile True: keep.append(b'x' * 4_000_000)"
    end = limit_of(lab, candidate, memory_mb=150)
    assert end.limit.name == "memory"
    assert end.usage.peak_memory_mb < 1500


def test_memory_of_children_together(lab):
    candidate = """
        import os, time
        for _ in range(4):
            if os.fork() == 0:
                block = os.urandom(1_000_000) * 60
                time.sleep(30)
                os._exit(0)
        time.sleep(30)
    """
    assert limit_of(lab, candidate, memory_mb=180).limit.name == "memory"


def test_memory_that_is_shared_counts_once(lab):
    candidate = """
        import os, time
        block = os.urandom(1_000_000) * 80
        for _ in range(4):
            if os.fork() == 0:
                time.sleep(0.6)
                os._exit(0)
        for _ in range(4): os.wait()
    """
    end = lab.run(candidate + "    " + SUBMIT.join(["    ", ""]).strip(), limits=replace(LIMITS, memory_mb=250))
    assert end.outcome is Outcome.SCORED, end.reason
    assert 80 < end.usage.peak_memory_mb < 200


@pytest.mark.parametrize("mapped", [False, True])
def test_memory_in_memfds(lab, mapped):
    candidate = f"""
        import mmap, os, time
        keep, block = [], b"x" * 4_000_000
        for _ in range(50):
            file = os.memfd_create("m")
            os.write(file, block)
            keep.append(mmap.mmap(file, len(block)) if {mapped} else file)
            time.sleep(0.01)
        time.sleep(20)
    """
    assert limit_of(lab, candidate, memory_mb=120).limit.name == "memory"


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_tmp_has_a_size(lab, folder):
    candidate = f"""
        import errno
        try:
            for number in range(100):
                with open(f"{folder}/{{number}}", "wb") as stream: stream.write(b"x" * 1_000_000)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            print("full at", number)
        else:
            raise SystemExit("no bound")
    """
    end = lab.run(candidate)
    assert end.outcome is Outcome.INVALID_OUTPUT, end.reason
    assert 15 <= int(lab.last().stdout.read_text().split()[-1]) <= 21


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_a_program_that_fails_on_a_full_tmp_has_met_the_bound_on_disk(lab, folder):
    candidate = f"open('{folder}/big', 'wb').write(b'x' * 30_000_000)"
    end = limit_of(lab, candidate)
    assert (end.limit.name, end.limit.allowed, end.limit.unit) == ("disk", 20.0, "MB")


def test_processes(lab):
    candidate = "import os, time\nfor _ in range(60):\n    if os.fork() == 0: time.sleep(30)\ntime.sleep(30)"
    end = limit_of(lab, candidate, pids=20)
    assert (end.limit.name, end.limit.unit) == ("pids", "processes")


def test_threads_count_as_processes(lab):
    candidate = "import threading, time\nfor _ in range(60): threading.Thread(target=time.sleep, args=(30,)).start()"
    assert limit_of(lab, candidate, pids=20).limit.name == "pids"


def test_a_fork_bomb(lab):
    candidate = (
        "import os\nfor _ in range(12):\n    try: os.fork()\n    except OSError: pass\nimport time; time.sleep(20)"
    )
    assert limit_of(lab, candidate, pids=32).limit.name == "pids"


def test_disk_in_many_files(lab):
    candidate = """
        import time
        for number in range(60):
            open(f"/job/out/{number}", "wb").write(b"x" * 1_000_000)
            time.sleep(0.02)
        time.sleep(20)
    """
    assert limit_of(lab, candidate, disk_mb=10).limit.name == "disk"


def test_disk_in_empty_files(lab):
    candidate = "import time\nfor n in range(30000): open(f'/job/out/{n}', 'w').close()\ntime.sleep(20)"
    assert limit_of(lab, candidate).limit.name == "disk"


def test_disk_in_nested_folders(lab):
    candidate = "import os, time\nfor n in range(60): os.mkdir('/job/out' + '/d' * (n + 1))\ntime.sleep(20)"
    assert limit_of(lab, candidate).limit.name == "disk"


def test_one_file_by_a_program_that_the_signal_ends(lab):
    candidate = """
        import os, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        stream = open("/job/out/big", "wb")
        while True: stream.write(b"x" * 1_000_000)
    """
    assert limit_of(lab, candidate, disk_mb=5).limit.name in ("file_size", "disk")


def test_one_file_by_plain_python(lab):
    candidate = 'stream = open("/job/out/big", "wb")\nwhile True: stream.write(b"x" * 1_000_000)'
    assert limit_of(lab, candidate, disk_mb=5).limit.name in ("file_size", "disk")


def test_output(lab):
    candidate = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    end = limit_of(lab, candidate, output_mb=1)
    assert end.limit.name == "output"
    assert lab.last().stdout.stat().st_size < 90_000


@pytest.mark.parametrize("life", [0.004, 0.012])
def test_cpu_of_brief_children_that_nobody_waits_for(lab, life):
    """Gone before they can be measured, and nobody's rusage tells of them."""
    candidate = f"""
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            read, write = os.pipe()
            if os.fork() == 0:
                end = time.monotonic() + {life}
                while time.monotonic() < end: pass
                os._exit(0)
            os.close(write); os.read(read, 1); os.close(read)
    """
    assert limit_of(lab, candidate, cpu_seconds=1.0, wall_seconds=6).limit.name == "cpu"


def test_brief_children_that_are_waited_for_are_not_counted_twice(lab):
    candidate = """
        import subprocess
        for _ in range(150): subprocess.run(["/bin/true"])
        open("/job/out/answer.txt", "w").write("42")
    """
    end = lab.run(candidate)
    assert end.outcome is Outcome.SCORED
    assert end.usage.cpu_seconds < 1.5
    print(end.usage)


def test_a_folder_that_cannot_be_read_is_counted(tmp_path):
    from asi_evolve.sandbox import watcher

    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "big").write_bytes(b"x" * 3_000_000)
    (tmp_path / "closed").chmod(0o300)
    assert watcher._folder_size(tmp_path).used >= 3_000_000
