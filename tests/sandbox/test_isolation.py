"""What a candidate can reach: nothing but what it was given."""

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.interpreter import Interpreter
from asi_evolve.sandbox.isolation import from_fields

from .conftest import EVALUATOR, SUBMIT


@pytest.fixture(params=["bwrap", "userns"], scope="module")
def isolation(request, working_tiers):
    """Both tiers with namespaces keep all of this alike."""
    if request.param not in working_tiers:
        pytest.skip(f"this machine has no tier {request.param}")
    return from_fields(working_tiers[request.param])


def sees(lab, expression, **spec):
    """What an expression is inside, as the candidate prints it."""
    end = lab.run(f"import os, sys, socket\nprint(repr(({expression})))\n{SUBMIT}", **spec)
    assert end.outcome is Outcome.SCORED, end.reason
    return lab.last().stdout.read_text().strip()


def test_only_its_own_folders_are_mounted(lab):
    assert sees(lab, "sorted(os.listdir('/job'))") == "['candidate', 'harness', 'out', 'params.json']"


def test_only_the_evaluator_sees_hidden_data(lab, tmp_path):
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "labels.txt").write_text("7")
    (tmp_path / "public").mkdir()
    evaluator = EVALUATOR + "assert open('/job/hidden/labels.txt').read() == '7'; open('/job/data/x')"
    (tmp_path / "public" / "x").write_text("")
    seen = sees(
        lab,
        "os.path.exists('/job/hidden'), os.path.exists('/job/evaluator'), os.listdir('/job/data')",
        evaluator=evaluator,
        hidden_data=str(tmp_path / "hidden"),
        public_data=str(tmp_path / "public"),
    )
    assert seen == "(False, False, ['x'])"


def test_hidden_data_beneath_the_interpreters_folder_is_covered(lab, tmp_path, interpreter):
    """So it lies for a domain that was installed as a package, or an environment made inside a project."""
    hidden = tmp_path / "prefix" / "lib" / "labels"
    hidden.mkdir(parents=True)
    (hidden / "labels.txt").write_text("7")
    shown = Interpreter(interpreter.executable, (*interpreter.roots, str(tmp_path / "prefix")), interpreter.versions)
    assert sees(lab, f"os.path.exists('{hidden}/labels.txt')", interpreter=shown, hidden_data=str(hidden)) == "False"


def test_no_candidate_file_reaches_the_evaluator(lab):
    evaluator = EVALUATOR + "import os; assert sorted(os.listdir('/job')) == "
    evaluator += "['evaluator', 'outputs', 'params.json', 'result']"
    assert lab.run(SUBMIT, evaluator=evaluator).outcome is Outcome.SCORED


def test_inputs_cannot_be_written(lab):
    candidate = """
        refused = 0
        for path in ("/job/params.json", "/job/harness/harness.py", "/job/candidate/candidate.py", "/job/x", "/x",
                     "/usr/x", "/dev/x", "/etc/x", "/proc/sys/kernel/core_pattern", "/job/candidate/new.py"):
            try: open(path, "a").write("x")
            except OSError: refused += 1
            else: print("wrote", path)
    """
    assert lab.run(candidate).outcome is Outcome.INVALID_OUTPUT
    assert lab.last().stdout.read_text() == ""


def test_home_and_the_rest_of_the_host_are_not_there(lab, tmp_path, interpreter):
    at_home = [
        path
        for path in Path("/home").glob("*/*")
        if not any(Path(root).is_relative_to(path) for root in interpreter.roots)
    ]
    paths = [
        tmp_path,
        Path(__file__),
        "/etc/passwd",
        "/etc/shadow",
        "/root/.ssh",
        "/var",
        "/run",
        *at_home,
    ]
    assert sees(lab, f"[p for p in {[str(path) for path in paths]} if os.path.exists(p)]") == "[]"
    assert sees(lab, "os.path.expanduser('~'), os.getcwd()") == "('/tmp', '/tmp')"


def test_the_environment_is_an_allow_list(lab):
    seen = sees(lab, "sorted(os.environ)")
    assert "LAB_SECRET" not in seen
    assert "PYTEST" not in seen
    assert "HOME" in seen


def test_the_environment_of_the_host_cannot_be_read_from_proc(lab):
    candidate = """
        import glob
        for path in glob.glob("/proc/[0-9]*/environ"):
            try: found = open(path, "rb").read()
            except OSError: continue
            if b"hunter2" in found: print("LEAK", path)
    """
    lab.run(candidate)
    assert lab.last().stdout.read_text() == ""


def test_only_its_own_processes_exist(lab):
    assert int(sees(lab, "len([p for p in os.listdir('/proc') if p.isdigit()])")) <= 3


def test_no_descriptor_is_inherited(lab):
    # the listing itself holds one
    assert (
        sees(
            lab,
            "[os.readlink(f'/proc/self/fd/{n}') for n in (3, 4, 5, 6, 7, 8) if os.path.exists(f'/proc/self/fd/{n}')]",
        )
        in ("[]",)
        or "supervisor" not in lab.last().stdout.read_text()
    )
    assert "supervisor.lock" not in lab.last().stdout.read_text()


def test_stdin_is_empty(lab):
    assert sees(lab, "sys.stdin.read()") == "''"


def test_the_network_ends_at_its_own_loopback(lab):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        seen = sees(
            lab, f"socket.socket().connect_ex(('127.0.0.1', {port})) != 0, [n for _, n in socket.if_nameindex()]"
        )
    assert seen == "(True, ['lo'])"


def test_sockets_of_the_host_cannot_be_reached(lab, tmp_path):
    name = f"asi-evolve-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        assert sees(lab, f"socket.socket(socket.AF_UNIX).connect_ex('\\0{name}') != 0") == "True"


def test_no_capability_and_no_namespace(lab):
    candidate = """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        print(open("/proc/self/status").read().split("CapEff:")[1].split()[0])
        print(libc.unshare(0x10000000), libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
    """
    lab.run(candidate)
    assert lab.last().stdout.read_text().split() == ["0" * 16, "-1", "-1"]


def test_nothing_is_left_for_the_next_candidate(lab):
    lab.run("import os\nfor f in ('/tmp/note', '/dev/shm/note'): open(f, 'w').write('x')")
    assert sees(lab, "'note' in os.listdir('/tmp'), os.listdir('/dev/shm')") == "(False, [])"


def test_our_own_package_is_covered(lab, tmp_path, interpreter):
    from asi_evolve.sandbox.isolation.layout import OWN_PACKAGE

    shown = replace(interpreter, roots=(*interpreter.roots, str(OWN_PACKAGE.resolve().parent)))
    assert sees(lab, f"{{*os.listdir('{OWN_PACKAGE.resolve()}')}} - {{'.venv'}}", interpreter=shown) == "set()"


def test_an_interpreter_within_a_covered_folder_is_seen_alone(lab, tmp_path, interpreter):
    (tmp_path / "lib" / "project" / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "lib" / "project" / "secret").write_text("label")
    project = str(tmp_path / "lib" / "project")
    shown = replace(interpreter, roots=(*interpreter.roots, str(tmp_path / "lib"), project + "/venv"))
    seen = f"os.listdir('{project}'), os.listdir('{project}/venv'), os.access('{project}', os.W_OK)"
    assert sees(lab, seen, interpreter=shown, hidden_data=project) == "(['venv'], ['bin'], False)"


def test_threads_of_numerical_libraries_are_bounded(lab):
    assert sees(lab, "os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS']", threads=3) == "('3', '3')"


def test_benign_work_is_not_hindered(lab):
    candidate = """
        import multiprocessing, os, tempfile, numpy
        def square(x): return x * x
        def work():
            context = multiprocessing.get_context("fork")
            with context.Pool(2) as pool: assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
            queue = context.Queue(); queue.put(1); assert queue.get() == 1
            with tempfile.NamedTemporaryFile() as stream: stream.write(b"x")
            assert numpy.linalg.svd(numpy.eye(50))[1].sum() == 50
            open("/job/out/answer.txt", "w").write("42")
    """
    end = lab.run(candidate)
    assert end.outcome is Outcome.SCORED, end.reason


def test_the_interpreter_is_the_one_that_was_asked_for(lab):
    assert sees(lab, "sys.executable, sys.flags.safe_path, sys.flags.no_user_site") == str(
        (os.path.abspath(sys.executable), True, 1)
    )
