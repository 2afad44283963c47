"""`asi-evolve verify`: whether a score stands, on nodes that a real daemon has scored."""

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from asi_evolve.database import campaigns, experiments, nodes
from asi_evolve.database.connection import find_driver
from asi_evolve.database.workspace import WorkspacePaths, open_workspace
from asi_evolve.evolution.errors import SandboxUnavailable
from asi_evolve.evolution.models import CampaignSettings
from asi_evolve.evolution.outcomes import ExperimentStatus
from asi_evolve.sandbox.engineer import Engineer
from asi_evolve.sandbox.flights import Slots
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.isolation.choice import find_isolation
from asi_evolve.server.cli import main

from ..waiting import until
from .conftest import COMMAND, environment

NUMBER_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "number"
RANDOM = "import random\ndef number(seed):\n    return random.SystemRandom().uniform(1.0, 99.0)\n"


def program(body):
    return f"def number(seed):\n    {body}\n"


class Case:
    """A workspace in which one node has been scored, and the domain folder that it was scored by."""

    def __init__(self, folder):
        self.root = folder / "workspace"
        self.domain = Path(shutil.copytree(NUMBER_DOMAIN, folder / "number"))

    def score(self, code, seeds=(0,)):
        """Let a daemon run a new node to its end; its short id."""
        return asyncio.run(self._score(code, seeds))

    async def _score(self, code, seeds):
        async with open_workspace(self.root) as workspace:
            async with workspace.transaction() as tx:
                campaign = await campaigns.add(
                    tx,
                    name="c",
                    goal="",
                    domain=str(self.domain),
                    domain_name="number",
                    domain_version="1",
                    instance=None,
                    settings=CampaignSettings(python=sys.executable),
                )
                node = await nodes.add(tx, nodes.NewNode(campaign, "n", "m", {"number.py": code}, code))
                number = await experiments.enqueue(
                    tx, campaign_id=campaign, node_id=node, stage="explore", seeds=list(seeds)
                )
            work = asyncio.create_task(Engineer(workspace, Slots(1, ()), idle_seconds=30).run())
            async with asyncio.timeout(30):
                while (await experiments.get(workspace.read, number)).status is not ExperimentStatus.FINISHED:
                    await asyncio.sleep(0.05)
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        return f"n{node}"

    def alter(self, sql):
        """Change the database behind everybody's back."""
        other = find_driver().connect(WorkspacePaths(self.root).database)
        other.execute(sql)
        other.close()

    def rewrite(self, file, old, new):
        """Change a file of the domain."""
        path = self.domain / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def outputs(self):
        """The stored files that runs have left."""
        return [path for path in WorkspacePaths(self.root).artifacts.rglob("*") if path.is_file()]

    def environment(self):
        """What is stored of where the first score comes from."""
        other = find_driver().connect(WorkspacePaths(self.root).database)
        (told,) = other.execute("SELECT environment_json FROM evaluations WHERE id = 1").fetchone()
        other.close()
        return json.loads(told)

    def rows(self):
        """All that the database holds."""
        other = find_driver().connect(WorkspacePaths(self.root).database)
        told = [
            other.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("nodes", "experiments", "evaluations", "metrics", "jobs", "events", "artifacts")
        ]
        other.close()
        return told


@pytest.fixture
def case(tmp_path):
    try:
        find_isolation(describe_interpreter(sys.executable, ()))
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox on this machine: {error}")
    return Case(tmp_path)


@pytest.fixture
def verify(case, capsys):
    """Run the command, which must leave everything as it was; (exit status, what it printed)."""

    def run(*arguments):
        before = case.rows()
        capsys.readouterr()
        status = main(["verify", "--workspace", str(case.root), *arguments])
        assert case.rows() == before
        assert not list(case.root.glob("verify-*")), "it clears up"
        printed = capsys.readouterr()
        assert not printed.err, printed.err
        return status, printed.out

    return run


def test_a_score_that_is_as_it_was_stands(case, verify):
    status, told = verify(case.score(program("return 7.5 + seed"), seeds=(0, 1)))
    assert status == 0
    assert "The score 8.0 stands: judged again, 2 run(s) score the same." in told
    assert "e1 explore, seed 0, judged again: scored 7.5 then and 7.5 now" in told
    assert "e1 explore, seed 1, judged again: scored 8.5 then and 8.5 now" in told
    assert "Not as it was" not in told


def test_a_changed_evaluator_that_scores_the_same_is_named(case, verify):
    node = case.score(program("return 7.0"))
    case.rewrite("evaluator.py", "import json\n", "# another line\nimport json\n")
    status, told = verify(node)
    assert status == 0
    assert "evaluator: hash " in told


def test_a_changed_evaluator_that_scores_otherwise_takes_the_score_away(case, verify):
    node = case.score(program("return 7.0"))
    case.rewrite("evaluator.py", "float(value)", "float(value) - 1e-6")
    status, told = verify(node)
    assert status == 1
    assert "The score 7.0 does not stand: e1, seed 0: scored 7.0 then and 6.999999 now" in told
    assert "evaluator: hash " in told


def test_a_changed_evaluator_that_refuses_the_outputs_says_why(case, verify):
    node = case.score(program("return 7.0"))
    case.rewrite("evaluator.py", "value <= 100", "value <= 5")
    status, told = verify(node)
    assert status == 1
    assert "does not stand" in told
    assert "ends as invalid_output now: Expected a finite number up to 100, but got 7.0." in told


def test_an_evaluator_that_crashes_neither_confirms_nor_refutes(case, verify):
    node = case.score(program("return 7.0"))
    case.rewrite("evaluator.py", "import json\n", "raise RuntimeError('out of order')\nimport json\n")
    status, told = verify(node)
    assert status == 1
    assert "The score 7.0 cannot be checked: e1, seed 0: The evaluator failed" in told
    assert "out of order" in told


def test_outputs_that_somebody_changed_are_not_judged(case, verify):
    node = case.score(program("return 7.0"))
    (stored,) = case.outputs()
    stored.write_text("99.0")
    status, told = verify(node)
    assert status == 1
    assert "cannot be checked" in told
    assert "its bytes have changed" in told


def test_outputs_that_are_gone_are_missed(case, verify):
    node = case.score(program("return 7.0"))
    (stored,) = case.outputs()
    stored.unlink()
    status, told = verify(node)
    assert status == 1
    assert "cannot be checked" in told
    assert "its file is gone" in told


def test_outputs_that_were_never_stored_are_missed(case, verify):
    node = case.score(program("return 7.0"))
    case.alter("DELETE FROM artifacts")
    status, told = verify(node)
    assert status == 1
    assert "cannot be checked: e1, seed 0: Expected the output number.json of this run to be stored" in told


@pytest.mark.parametrize("table", ["nodes", "evaluations"])
def test_a_score_that_somebody_changed_in_the_database_does_not_stand(case, verify, table):
    node = case.score(program("return 7.0"))
    case.alter(f"UPDATE {table} SET score = 8.0")
    status, told = verify(node)
    assert status == 1
    assert "does not stand" in told


def test_a_domain_that_is_gone_leaves_nothing_to_check_with(case, verify):
    node = case.score(program("return 7.0"))
    shutil.rmtree(case.domain)
    status, told = verify(node)
    assert status == 1
    assert "cannot be checked" in told
    assert "does not exist" in told


def test_another_version_of_a_package_and_another_processor_are_named(case, verify):
    node = case.score(program("return 7.0"))
    case.alter(
        "UPDATE evaluations SET environment_json = json_set(environment_json, '$.cpu', 'Z80', '$.python', '2.7')"
    )
    status, told = verify(node)
    assert status == 0
    assert "cpu: Z80, now " in told
    assert "python: 2.7, now 3." in told


def test_other_data_is_named(case, verify):
    (case.domain / "data" / "hidden").mkdir(parents=True)
    labels = case.domain / "data" / "hidden" / "labels.txt"
    labels.write_text("one")
    node = case.score(program("return 7.0"))
    assert "hidden_data" not in verify(node)[1]
    labels.write_text("two")
    status, told = verify(node)
    assert status == 0
    assert "hidden_data: hash " in told


def test_a_deterministic_candidate_repeats_bit_for_bit(case, verify):
    status, told = verify(case.score(program("return seed / 3"), seeds=(0, 7)), "--rerun")
    assert status == 0
    assert "stands: judged and run again, 2 run(s) score the same" in told
    assert told.count("outputs equal bit for bit") == 2


def test_a_random_candidate_stands_as_judged_and_does_not_repeat(case, verify):
    node = case.score(RANDOM)
    assert verify(node)[0] == 0
    status, told = verify(node, "--rerun")
    assert status == 1
    assert "does not stand: e1, seed 0: run again, it scored" in told
    assert "outputs not equal bit for bit" in told


def test_a_candidate_that_fails_when_it_runs_again_says_how(case, verify):
    node = case.score(program("return 7.0"))
    case.alter("UPDATE node_files SET text = 'def number(seed): return 1 / 0'")
    status, told = verify(node, "--rerun")
    assert status == 1
    assert "run again, it scored 7.0 then and ends as candidate_error now" in told


def test_for_programs(case, verify):
    node = case.score(program("return 7.0"))
    status, told = verify(node, "--rerun", "--json")
    report = json.loads(told)
    assert status == 0
    assert (report["node"], report["standing"], report["score"]) == (node, "stands", 7.0)
    assert report["tolerance"] == 1e-9
    assert [(check["rerun"], check["before"], check["after"]) for check in report["checks"]] == [
        (False, 7.0, 7.0),
        (True, 7.0, 7.0),
    ]


def test_a_node_without_a_score_has_nothing_to_verify(case, capsys):
    node = case.score(program("return 700"))
    assert main(["verify", "--workspace", str(case.root), node]) == 1
    assert f"Expected {node} to have a score, but it ended as invalid_output." in capsys.readouterr().err


@pytest.mark.parametrize(("node", "said"), [("n9", "no n9"), ("c1", "id of a node"), ("moon", "an id such as")])
def test_a_node_that_does_not_exist_is_told(case, capsys, node, said):
    case.score(program("return 7.0"))
    assert main(["verify", "--workspace", str(case.root), node]) == 1
    assert said in capsys.readouterr().err


def test_every_score_says_where_it_comes_from(case):
    (case.domain / "data" / "public").mkdir(parents=True)
    (case.domain / "data" / "public" / "table.csv").write_text("1,2\n")
    needed = """requirements = ["numpy>=1", "no-such-package; sys_platform == 'win32'"]"""
    case.rewrite("domain.toml", 'version = "1"\n', f'version = "1"\n{needed}\n')
    case.score(program("return 7.0"))
    environment = case.environment()
    expected = {"python", "platform", "cpu", "tier", "asi_evolve", "evaluator_sha256", "harness_sha256"}
    assert expected | {"public_data_sha256"} <= set(environment)
    assert (environment["domain"], environment["domain_version"]) == ("number", "1")
    assert environment["numpy"][0].isdigit()
    assert environment["no-such-package"] == "missing"
    assert "gpu" not in environment


def test_interrupted_it_ends_what_runs_and_clears_up(case):
    node = case.score(program("return 7.0"))
    case.alter("UPDATE node_files SET text = 'import time\ndef number(seed): time.sleep(50)'")
    process = subprocess.Popen(
        [*COMMAND, "verify", "--workspace", str(case.root), node, "--rerun"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    supervisor = until(
        lambda: [path.read_text() for path in case.root.glob("verify-*/*/supervisor.pid") if sleeps(path)]
    )
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert not list(case.root.glob("verify-*"))
    assert not Path(f"/proc/{supervisor[0]}").exists()


def sleeps(pid):
    """Whether this is the job that runs the candidate, and not the evaluator's."""
    with contextlib.suppress(OSError):
        return pid.read_text() and list((pid.parent / "candidate").iterdir())
    return False
