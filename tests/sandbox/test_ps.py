"""Process trees by way of `ps`, as on macOS; Linux has the same program."""

import os
import subprocess
import sys

from asi_evolve.sandbox import ps
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.isolation import Mount, Request
from asi_evolve.sandbox.isolation.seatbelt import profile_lines

from ..waiting import until

FAMILY = """
import os, time
if os.fork() == 0:
    block = b"x" * 50_000_000
    if os.fork() == 0: time.sleep(60)
end = time.process_time() + 1.2
while time.process_time() < end: pass
time.sleep(60)
"""


def test_a_tree_is_found_measured_and_ended():
    root = subprocess.Popen([sys.executable, "-c", FAMILY], start_new_session=True)
    rows = until(lambda: len(found := ps.tree(root.pid)) == 3 and sum(row.cpu for row in found) >= 1 and found)
    assert {row.pid for row in rows} >= {root.pid}
    assert os.getpid() not in {row.pid for row in rows}
    assert sum(row.resident for row in rows) > 50_000_000
    ps.end_tree(root.pid, root.pid)
    root.wait(10)
    assert ps.tree(root.pid) == []


def test_times_are_read_in_every_form():
    lines = {"1 0 5 0:01.50": 1.5, "1 0 5 00:00:02": 2.0, "1 0 5 1-01:00:01": 90001.0}
    for line, seconds in lines.items():
        assert ps._read(line).cpu == seconds
    assert ps._read("not a process") is None


def test_the_profile_of_macos_allows_what_was_given_and_hides_the_rest(tmp_path):
    interpreter = describe_interpreter(sys.executable, ())
    hidden = f"{interpreter.roots[0]}/labels"
    mounts = (Mount(str(tmp_path / "in"), "/job/candidate"), Mount(str(tmp_path / "out"), "/job/out", True))
    request = Request(interpreter, "/job/harness/h.py", mounts, 1, 1, (), str(tmp_path), 0, hidden=(hidden,))
    lines = list(profile_lines(request, str(tmp_path / "job"), str(tmp_path / "tmp")))
    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert not any("network" in line for line in lines)
    writable = next(line for line in lines if line.startswith("(allow file-read* file-write* "))
    assert str(tmp_path / "out") in writable
    assert str(tmp_path / "in") not in writable
    assert "labels" in lines[-1]
    assert lines[-1].startswith("(deny")
