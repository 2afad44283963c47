"""One job from start to end: what is scored, what is refused and why, and what a candidate can never do."""

import os
import signal
import socket
import threading
from dataclasses import replace

import psutil
import pytest
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.jobs import ArtifactRule

from .conftest import until

GOOD = "open('/job/out/value.txt', 'w').write('4.5')\n"


def test_a_job_is_scored_and_says_what_it_took_and_under_what(bench):
    end = bench.run(GOOD + "x = [i * i for i in range(10**6)]")
    assert (end.outcome, end.metrics, end.reason) == (Outcome.SCORED, {"value": 4.5}, "")
    assert 0.02 < end.usage.cpu_seconds < 5
    assert 5 < end.usage.peak_memory_mb < 300
    assert end.environment["tier"] == "bwrap"
    assert end.environment["numpy"][0].isdigit()
    assert end.environment["evaluator_sha256"] == "0" * 64
    assert end.artifacts == ("outputs/value.txt",)


def test_a_crash_is_the_candidates_error_with_its_last_words(bench):
    end = bench.run("raise RuntimeError('the matrix is singular')")
    assert end.outcome is Outcome.CANDIDATE_ERROR
    assert "exit status 1" in end.reason
    assert "the matrix is singular" in end.reason


def test_a_signal_is_named(bench):
    end = bench.run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert end.outcome is Outcome.CANDIDATE_ERROR
    assert "SIGSEGV" in end.reason


def test_good_output_does_not_make_up_for_a_bad_exit(bench):
    assert bench.run(GOOD + "raise SystemExit(3)").outcome is Outcome.CANDIDATE_ERROR


def test_leaving_no_output_is_invalid(bench):
    end = bench.run("pass")
    assert end.outcome is Outcome.INVALID_OUTPUT
    assert "value.txt" in end.reason


def alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


MANY_CHILDREN = """
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    children = [os.fork() for _ in range(2)] if True else []
    if 0 in children:
        for _ in range(4 * 10**6): pass
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:
        pass
"""


@pytest.mark.parametrize(
    ("name", "bounds", "candidate"),
    [
        ("cpu", {"cpu_seconds": 1}, "while True: pass"),
        ("cpu", {"cpu_seconds": 1}, MANY_CHILDREN),
        ("wall", {"wall_seconds": 1}, "import time; time.sleep(60)"),
        ("memory", {"memory_mb": 100}, "import time\nx = b'x' * 250_000_000\ntime.sleep(20)"),
        (
            "memory",
            {"memory_mb": 100, "disk_mb": 400},
            "import os, time\nf = os.memfd_create('x')\nfor _ in range(250): os.write(f, b'x' * 10**6)\ntime.sleep(20)",
        ),
        (
            "memory",
            {"memory_mb": 100, "disk_mb": 400},
            "import time\nopen('/tmp/x', 'wb').write(b'x' * 10**6 * 1)\n"
            "f = open('/tmp/y', 'wb')\nfor _ in range(250): f.write(b'x' * 10**6)\nf.flush()\ntime.sleep(20)",
        ),
        (
            "pids",
            {"pids": 10},
            "import subprocess, time\nfor _ in range(40): subprocess.Popen(['sleep', '20'])\ntime.sleep(20)",
        ),
        (
            "disk",
            {"disk_mb": 5},
            "import time\nfor n in range(4): open(f'/job/out/{n}', 'wb').write(b'x' * 4 * 10**6)\ntime.sleep(20)",
        ),
        ("disk", {}, "import time\nfor n in range(30000): open(f'/job/out/{n}', 'w').close()\ntime.sleep(20)"),
        ("output", {"output_mb": 1}, "while True: print('x' * 10000)"),
    ],
)
def test_a_bound_that_is_passed_ends_the_whole_tree_and_is_named(bench, name, bounds, candidate):
    end = bench.limit(**bounds).run(candidate)
    assert end.outcome is Outcome.LIMIT, end
    assert end.limit.name == name
    assert end.limit.used > end.limit.allowed
    assert name in end.reason


def test_one_huge_file_is_stopped_by_the_kernel(bench):
    end = bench.limit(disk_mb=2).run("open('/job/out/value.txt', 'wb').write(b'x' * 10**7)")
    assert end.outcome in (Outcome.LIMIT, Outcome.CANDIDATE_ERROR)
    assert "file_size" in end.reason or "File too large" in end.reason


@pytest.mark.parametrize(
    ("trick", "candidate"),
    [
        ("link", "os.symlink('/etc/hostname', '/job/out/value.txt')"),
        ("pipe", "os.mkfifo('/job/out/value.txt')"),
        ("folder", "os.mkdir('/job/out/value.txt')"),
        ("second name", "open('/job/out/a', 'w').write('1'); os.link('/job/out/a', '/job/out/value.txt')"),
        ("too large", "open('/job/out/value.txt', 'w').write('1' * 2000)"),
    ],
)
def test_only_a_plain_file_of_the_declared_size_is_taken_over(bench, trick, candidate):
    end = bench.run(f"import os\n{candidate}")
    assert end.outcome is Outcome.INVALID_OUTPUT, trick
    assert "value.txt" in end.reason
    assert end.metrics == {}


def test_what_a_candidate_prints_is_kept_at_both_ends_and_made_inert(bench):
    end = bench.run(GOOD + "print('begin' + chr(27) + '[31m' + chr(0x202e) + 'x' * 200_000 + 'end')")
    assert end.outcome is Outcome.SCORED
    log = bench.folder.stdout.read_text()
    assert log.startswith("begin[31mx")
    assert log.rstrip().endswith("end")
    assert "bytes left out" in log
    assert len(log) < 90_000


def test_a_candidate_sees_neither_evaluator_nor_hidden_data_nor_the_host(bench, tmp_path, monkeypatch):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "labels.txt").write_text("8")
    monkeypatch.setenv("SECRET_TOKEN", "swordfish")
    look = f"""
import os
home = os.path.expanduser("~")
found = []
for path in ("/job/hidden", "/job/evaluator", "/job/outputs", {str(tmp_path)!r}, "/home", "/root/.ssh", "/etc/passwd",
             "/var", "/sys/class/net"):
    if os.path.exists(path):
        found.append(path)
if "SECRET_TOKEN" in os.environ or home != "/tmp":
    found.append("environment")
if len([p for p in os.listdir("/proc") if p.isdigit()]) > 4:
    found.append("processes")
for place in ("/", "/usr", "/job", "/dev", "/job/candidate"):
    try:
        open(place + "/mark", "w").close()
        found.append("wrote " + place)
    except OSError:
        pass
try:
    import asi_evolve.sandbox
    found.append("package")
except ImportError:
    pass
assert not found, found
"""
    judge = """
import json
value = float(open("/job/hidden/labels.txt").read())
import os
assert not os.path.exists("/job/candidate") and not os.path.exists("/job/out")
json.dump({"metrics": {"value": value}}, open("/job/result/metrics.json", "w"))
"""
    end = bench.change(hidden_data=str(hidden)).run(look + GOOD, judge)
    assert (end.outcome, end.metrics) == (Outcome.SCORED, {"value": 8.0}), end.reason


def test_a_candidate_reaches_no_network_not_even_this_machines(bench):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        port = listener.getsockname()[1]
        end = bench.run(
            GOOD + f"import socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 1)\n"
            "except OSError:\n    pass\nelse:\n    raise SystemExit(9)"
        )
        assert end.outcome is Outcome.SCORED, end.reason
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_daemonised_survivor_is_dead_when_the_outputs_are_read(bench):
    end = bench.run(
        GOOD + "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True:\n"
        "            open('/job/out/value.txt', 'w').write('99')\n    os._exit(0)\ntime.sleep(0.2)\n" + GOOD
    )
    assert end.outcome in (Outcome.SCORED, Outcome.INVALID_OUTPUT, Outcome.INFRASTRUCTURE_ERROR)
    before = (bench.folder.out / "value.txt").stat().st_mtime_ns
    threading.Event().wait(0.3)
    assert (bench.folder.out / "value.txt").stat().st_mtime_ns == before


def test_cancel_ends_the_sandbox_and_says_so(bench):
    process = bench.start("import time; time.sleep(60)")
    inside = until(lambda: psutil.Process(process.pid).children(recursive=True))
    os.kill(process.pid, signal.SIGTERM)
    process.wait(20)
    assert bench.folder.read_exit().outcome is Outcome.CANCELLED
    assert not any(alive(child) for child in inside)


def test_a_cancel_before_the_sandbox_is_up_is_heard(bench):
    process = bench.start("import time; time.sleep(60)")
    until(bench.folder.supervisor_pid)
    os.kill(process.pid, signal.SIGTERM)
    process.wait(20)
    assert bench.folder.read_exit().outcome is Outcome.CANCELLED


def test_a_killed_supervisor_takes_its_sandbox_along_and_the_folder_tells(bench):
    process = bench.start("import time; time.sleep(60)")
    inside = until(lambda: [c for c in psutil.Process(process.pid).children(recursive=True) if "-B" in c.cmdline()])
    assert bench.folder.liveness() == "running"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not any(alive(child) for child in inside))
    assert bench.folder.liveness() == "died"


@pytest.mark.parametrize(
    ("evaluator", "reason"),
    [
        ("raise ValueError('my bug')", "my bug"),
        ("pass", "wrote none"),
        ("while True: pass", "cpu"),
        ("open('/job/result/metrics.json', 'w').write('{\"metrics\": {\"value\": NaN}}')", "NaN"),
        ("open('/job/result/metrics.json', 'w').write('{\"metrics\": {\"value\": 1e999}}')", "finite"),
        ("open('/job/result/metrics.json', 'w').write('{\"metrics\": {\"value\": true}}')", "finite"),
        ("open('/job/result/metrics.json', 'w').write('[' * 100000)", "strict JSON"),
        ("import os; os.symlink('/etc/hostname', '/job/result/metrics.json')", "plain file"),
        ("while True: print('x' * 10000)", "output"),
    ],
)
def test_a_broken_evaluator_is_never_the_candidates_fault(bench, evaluator, reason):
    bench.change(evaluator_limits=replace(bench.spec.evaluator_limits, cpu_seconds=1, output_mb=1))
    end = bench.run(GOOD, evaluator)
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert reason in end.reason
    assert end.metrics == {}


def test_the_evaluators_refusal_is_passed_on_in_its_own_words(bench):
    end = bench.run(GOOD, "open('/job/result/metrics.json', 'w').write('{\"invalid\": \"Circles 1 and 2 overlap.\"}')")
    assert (end.outcome, end.reason) == (Outcome.INVALID_OUTPUT, "Circles 1 and 2 overlap.")


def test_artifacts_are_kept_when_plain_and_small_enough(bench):
    bench.change(artifacts=(ArtifactRule("a.svg", 100), ArtifactRule("b.svg", 10), ArtifactRule("c.svg", 100)))
    drawing = "open('/job/result/a.svg', 'w').write('<svg/>'); open('/job/result/b.svg', 'w').write('x' * 50)\n"
    end = bench.run(
        GOOD, drawing + "import json\njson.dump({'metrics': {'value': 1}}, open('/job/result/metrics.json', 'w'))"
    )
    assert end.artifacts == ("outputs/value.txt", "result/a.svg")


def test_a_sandbox_that_cannot_be_set_up_is_our_fault(bench):
    bench.change(isolation={"tier": "bwrap", "binary": "/nonexistent/bwrap", "proc": "fresh"})
    end = bench.run(GOOD)
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "bwrap" in end.reason


def test_data_that_is_missing_is_our_fault(bench):
    end = bench.change(public_data="/nonexistent/data").run(GOOD)
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "/nonexistent/data" in end.reason
