"""Judged nodes on the command line: export, the list of campaigns, and verify, on nodes that a real daemon scored."""

import asyncio
import contextlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from asi_evolve.database.connection import find_driver
from asi_evolve.database.workspace import WorkspacePaths
from asi_evolve.evolution.errors import SandboxUnavailable
from asi_evolve.sandbox.engineer import Engineer
from asi_evolve.sandbox.flights import Slots
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.isolation.choice import find_isolation
from asi_evolve.server.cli import main

from ..tools.conftest import open_bench

ESSAY_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "essay"
MARKS = {"clarity": 10, "depth": 2}
SCORE = 0.75 * 4 + 0.25 * 40 * 0.4
"""Of the baseline: "to be or not to be", and the marks above."""


class Case:
    """A workspace with one scored node, n1, and the domain folder that it was scored by."""

    def __init__(self, folder):
        self.root = folder / "workspace"
        self.domain = Path(shutil.copytree(ESSAY_DOMAIN, folder / "essay"))
        asyncio.run(self._begin())

    async def _begin(self):
        async with open_bench(self.root) as bench:
            await bench.call("start_campaign", domain=str(self.domain))
            work = asyncio.create_task(Engineer(await bench.workspace(), Slots(1, ()), idle_seconds=30).run())
            result = await bench.call("wait_experiment", experiments=["e1"], wait_s=40)
            assert (result["score"], result["node_score"], result["unjudged"]) == (4.0, 3.0, True), result
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    def judge(self):
        async def judge():
            async with open_bench(self.root) as bench:
                return await bench.call("record_judgement", node="n1", marks=MARKS, comment="Clear.")

        assert asyncio.run(judge())["score"] == SCORE

    def run(self, *arguments):
        return main([*arguments, "--workspace", str(self.root)])


@pytest.fixture
def case(tmp_path):
    try:
        find_isolation(describe_interpreter(sys.executable, ()), "landlock")
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    return Case(tmp_path)


def test_verify_checks_the_metric_by_its_runs_and_the_score_by_its_judgements(case, capsys):
    assert case.run("verify", "n1") == 0
    shown = capsys.readouterr().out
    assert "The score 4.0 stands" in shown
    assert "As nobody has judged it yet, the node's score is 3.0." in shown
    case.judge()
    assert case.run("verify", "n1", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["standing"], report["score"], report["node_score"]) == ("stands", 4.0, SCORE)
    assert f"With its judgements (0.4 of 1), the node's score is {SCORE!r}." in report["text"]


def test_verify_finds_a_score_that_its_judgements_do_not_give(case, capsys):
    case.judge()
    other = find_driver().connect(WorkspacePaths(case.root).database)
    other.execute("UPDATE nodes SET score = 9")
    assert case.run("verify", "n1") == 1
    assert f"The node's score 9.0 does not stand: with its judgements it is {SCORE!r}" in capsys.readouterr().out
    other.execute("UPDATE nodes SET score = ?, quality = 0.4", [SCORE])
    other.execute("UPDATE judgements SET quality = 0.9")
    other.close()
    assert case.run("verify", "n1") == 1
    assert "with its judgements it is 12.0" in capsys.readouterr().out


def test_verify_finds_a_rubric_that_weighs_otherwise_now(case, capsys):
    case.judge()
    toml = case.domain / "domain.toml"
    toml.write_text(toml.read_text().replace("weight = 0.25", "weight = 0.5"))
    assert case.run("verify", "n1") == 1
    assert "does not stand: with its judgements it is 10.0" in capsys.readouterr().out


def test_export_and_the_list_of_campaigns_tell_of_judgements(case, tmp_path, capsys):
    assert case.run("campaigns") == 0
    assert "best 3 (unjudged)" in capsys.readouterr().out
    case.judge()
    assert case.run("campaigns") == 0
    assert "(unjudged)" not in capsys.readouterr().out
    assert case.run("export", "c1", str(tmp_path / "out")) == 0
    node = json.loads((tmp_path / "out" / "nodes.jsonl").read_text())
    assert (node["score"], node["judging"]) == (SCORE, {"metric": 4.0, "quality": 0.4})
    (judgement,) = node["judgements"]
    assert (judgement["judge"], judgement["marks"], judgement["comment"]) == ("agent", MARKS, "Clear.")
    assert node["evaluations"][0]["score"] == 4.0
