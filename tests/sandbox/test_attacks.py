"""Programs that try to get out, to lie, or to exhaust the machine; each says in its header what must happen.

The host decides, not what an attack prints: what it was after is as it was, nobody was spoken to, nothing is left.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import asi_evolve
import pytest
from asi_evolve.domains.loader import find_domain
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.isolation import marks
from asi_evolve.sandbox.jobs import JobFolder
from asi_evolve.sandbox.preparation import Grant, lay_down_job

HERE = Path(__file__).parent
ATTACKS = sorted((HERE / "attacks").glob("*.py"))
BENIGN = sorted((HERE / "benign").glob("*.py"))
HONEST = 2.5385
ORDINARY_USER = 4242
PORT = 47611
BOUNDS = {
    "cpu_seconds": 4.0,
    "wall_seconds": 10.0,
    "memory_mb": 1000.0,
    "disk_mb": 100.0,
    "output_mb": 8.0,
    "pids": 64,
}


@pytest.fixture(params=["bwrap", "userns", "landlock"])
def tier(request, working_tiers):
    if request.param not in working_tiers:
        pytest.skip(f"this machine has no tier {request.param}")
    return working_tiers[request.param]


@pytest.fixture(params=["root", "user"])
def uid(request):
    """Who the supervisor runs as."""
    if request.param == "user" and os.getuid() == 0:
        return ORDINARY_USER
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("only root can run as root")
    return os.getuid()


class Canary:
    """What an attack is after, and who would notice."""

    def __init__(self, folder: Path, uid: int, closing: ExitStack, *, with_public_sockets: bool) -> None:
        self.folder = folder
        for name, text in {
            "home/.ssh/id_rsa": "PRIVATE KEY",
            "jobs/other/candidate.py": "print('another')",
            "evaluator.py": "print('evaluator')",
            "precious.txt": "precious",
            "reference_answer.npz": "answer",
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        with sqlite3.connect(folder / "server.db") as database:
            database.execute("CREATE TABLE secrets (x)")
            database.execute("INSERT INTO secrets VALUES ('hunter2')")
        database.close()
        self.accepted: list[str] = []
        self._listen(closing, socket.AF_UNIX, str(folder / "agent.sock"))
        if with_public_sockets:
            self._listen(closing, socket.AF_UNIX, "\0sbx-canary")
            self._listen(closing, socket.AF_INET, ("127.0.0.1", PORT))
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid)
        self.before = self.state()

    def _listen(self, closing, family, address):
        listener = closing.enter_context(socket.socket(family))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()

        def accept():
            try:
                while True:
                    listener.accept()[0].close()
                    self.accepted.append(str(address))
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        closing.callback(thread.join, 5)
        closing.callback(listener.shutdown, socket.SHUT_RDWR)

    def state(self):
        return {
            str(path): (
                path.lstat().st_mode,
                path.lstat().st_uid,
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            )
            for path in sorted(self.folder.rglob("*"))
        }


@pytest.fixture
def canary(tmp_path, uid, request):
    attack = request.node.callspec.params["attack"]
    with_public_sockets = str(PORT) in attack.read_text() or "sbx-canary" in attack.read_text()
    with ExitStack() as closing:
        if with_public_sockets:  # their names are part of the corpus, so one at a time, whatever runs beside us
            lock = closing.enter_context(Path("/tmp/asi-evolve-canary.lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield Canary(tmp_path / "canary", uid, closing, with_public_sockets=with_public_sockets)


class Range:
    """Runs candidates of circle packing as a given user in a given tier."""

    def __init__(self, root, interpreter, tier, uid):
        self.root, self.interpreter, self.tier, self.uid, self.count = root, interpreter, tier, uid, 0
        self.domain = find_domain("circle_packing")
        self.stage = self.domain.spec.stages[0].model_copy(update=BOUNDS)

    def run(self, code, extra_fd=None, **bounds):
        """(how it ended, its stdout, its folder) of one candidate."""
        self.count += 1
        job = JobFolder(self.root / f"e{self.count}-check-0-1")
        lay_down_job(
            job,
            domain=self.domain,
            instance=None,
            stage=self.stage.model_copy(update=bounds),
            seed=0,
            files={"packing.py": code},
            token=f"{self.root}{self.count}",
            grant=Grant(_Fields(self.tier), self.interpreter, 1, ()),
        )
        for path in (self.root, job.path, *job.path.rglob("*")):
            os.chown(path, self.uid, self.uid)
        self._supervise(job, extra_fd)
        end = job.read_exit()
        assert end is not None, (job.path / "supervisor.log").read_text()
        return end, job.stdout.read_text(errors="replace") if job.stdout.exists() else "", job

    def _supervise(self, job, extra_fd):
        lock = os.open(job.lock, os.O_RDWR | os.O_CREAT, 0o666)
        os.chown(job.lock, self.uid, self.uid)
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-I", "-m", "asi_evolve.sandbox.supervisor", str(job.path), "--lock-fd", str(lock)]
        if self.uid != os.getuid():
            package = str(Path(asi_evolve.__file__).parent)
            reach = json.dumps([*self.interpreter.roots, package, str(self.root.parent)])
            command = [sys.executable, str(HERE / "as_user.py"), str(self.uid), reach, *command]
        with (job.path / "supervisor.log").open("wb") as log:
            subprocess.run(
                command,
                pass_fds=[lock, *([extra_fd] if extra_fd is not None else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=os.environ | {"OPENAI_API_KEY": "sk-canary-secret", "AWS_SECRET_ACCESS_KEY": "canary"},
                timeout=120,
                start_new_session=True,
            )
        os.close(lock)


class _Fields:
    """What a grant says of a tier that was tried already."""

    def __init__(self, fields):
        self._fields = fields

    def fields(self):
        return self._fields


@pytest.fixture
def shooting_range(tmp_path, interpreter, tier, uid):
    tmp_path.chmod(0o755)
    (tmp_path / "jobs").mkdir()
    return Range(tmp_path / "jobs", interpreter, tier, uid)


def leaks(said, tier, job):
    """What an attack believes to have got through, less what is the sandbox's own."""
    own = ["write:/tmp/sbx_attack_marker", f"write:{job.path}/sandbox-1/tmp/sbx_attack_marker"]
    if tier == "bwrap":  # its first process is bubblewrap's, which has no more rights than the candidate
        own += ["/proc/1/mem", "/proc/1/maps", "/proc/1/environ"]
    found = [line.partition("LEAK:")[2] for line in said.splitlines() if "LEAK:" in line]
    return [leak for leak in found if not leak.startswith(tuple(own))]


def expectation(path):
    return re.search(r"^# expect: (.*)$", path.read_text(), re.MULTILINE)[1]


def check_score(expected, end):
    score = end.metrics.get("sum_radii")
    if "score honest" in expected:
        assert end.outcome is Outcome.SCORED, (end.outcome, end.reason)
        assert score == pytest.approx(HONEST, abs=1e-6)
    elif any(words in expected for words in ("none or honest", "none or recomputed", "tiny or none")):
        assert score is None or score <= HONEST + 1e-6
        assert (end.outcome is Outcome.SCORED) == (score is not None)
    else:
        assert "score none" in expected
        assert end.outcome not in (Outcome.SCORED, Outcome.INFRASTRUCTURE_ERROR, Outcome.LOST), end.metrics


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda path: path.stem)
def test_an_attack_is_contained(attack, shooting_range, canary, tmp_path):
    code = attack.read_text().replace("@CANARY@", str(canary.folder))
    for _ in range(2 if attack.stem.startswith("56") else 1):
        with (canary.folder / "server.db").open("rb") as inherited:
            end, said, job = shooting_range.run(code, inherited.fileno())
    check_score(expectation(attack), end)
    assert leaks(said, shooting_range.tier["tier"], job) == []
    assert canary.state() == canary.before
    assert canary.accepted == []
    assert marks.marked(marks.first_mark(job.read_spec().token)) == []
    assert "canary-secret" not in said
    assert [path for path in job.path.rglob("*") if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert not list(Path("/var/tmp").glob("sbx_attack_marker*"))
    shutil.rmtree(job.path)


@pytest.mark.slow
@pytest.mark.parametrize("program", BENIGN, ids=lambda path: path.stem)
def test_benign_work_is_not_hindered(program, shooting_range):
    if "torch" in program.stem:
        pytest.importorskip("torch")
    bounds = {"cpu_seconds": 60.0, "wall_seconds": 60.0, "memory_mb": 3000.0} if "torch" in program.stem else {}
    if shooting_range.tier["tier"] == "landlock":
        bounds.pop("wall_seconds", None)
    end, said, _ = shooting_range.run(program.read_text(), **bounds)
    if shooting_range.tier["tier"] == "landlock":
        # It cannot give shared memory or sockets to a candidate, and has to say so; gloo waits for ever for a socket.
        assert end.outcome in (Outcome.CANDIDATE_ERROR, Outcome.LIMIT)
        assert "tier landlock" in end.reason
    else:
        assert end.outcome is Outcome.SCORED, (end.reason, said)
        assert "BENIGN-OK" in said
