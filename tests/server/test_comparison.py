"""`asi-evolve compare`: from campaigns in a workspace to tables, JSON and a drawing."""

import asyncio
import json
from xml.etree import ElementTree

import pytest
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.server.cli import main

from ..tools.conftest import open_bench
from .conftest import cli


async def _make(root):
    async with open_bench(root) as bench:
        full = [await bench.campaign(name=f"<full {seed}>", seed=seed) for seed in (1, 2)]
        bare = await bench.campaign(options={"cognition": False})
        for campaign, scores in zip((*full, bare), ((5.0, 9.0), (3.0, None, 7.0), (2.0, 4.0)), strict=True):
            for place, score in enumerate(scores):
                outcome = Outcome.SCORED if score is not None else Outcome.CANDIDATE_ERROR
                await bench.node(campaign, score or 50.0 + place, outcome)
        await bench.node(bare, 60.0, Outcome.LOST)
        await bench.queue(bare, 61.0)
        await bench.campaign(domain="circle_packing")
        promoted = await bench.call("promote_node", node="n5", stage="verify", wait_s=0)
        await bench.settle(promoted["experiment"], score=80.0)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """c1 and c2 are replicates, c3 has no cognition, c4 is of another domain; n5 stands at a dearer stage."""
    root = tmp_path_factory.mktemp("arms") / "workspace"
    asyncio.run(_make(root))
    return root


def compare(workspace, tmp_path, *arguments):
    output = tmp_path / "deep" / "chart.svg"
    status = main(["compare", "--workspace", str(workspace), "--output", str(output), *arguments])
    return status, output


def test_arms_are_compared_at_the_stage_where_most_nodes_stand(workspace, tmp_path, capsys):
    status, output = compare(workspace, tmp_path, "c1", "c2", "c3", "--json")
    assert status == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["stage"], told["drawing"]) == ("explore", str(output))
    full, bare = told["arms"]
    assert (full["label"], full["campaigns"]) == ("cognition on", ["c1", "c2"])
    assert (bare["label"], bare["campaigns"]) == ("cognition off", ["c3"])
    curve = [(point["round"], point["value"], point["low"], point["high"]) for point in full["curve"]]
    assert curve == [(0, 1.0, 1.0, 1.0), (1, 4.0, 3.0, 5.0), (2, 6.0, 3.0, 9.0)], "80 was scored at another stage"
    assert full["band"] == "mean, minimum to maximum"
    assert (full["rounds"], full["best"]) == ([2, 3], 9.0)
    assert full["reached"] == {"50%": 2, "90%": None, "99%": None}
    assert (full["failures"], full["candidates"]) == ({"candidate_error": 1}, 5)
    assert full["area"] == pytest.approx((3 / 8 + 5 / 8) / 2)
    assert [point["value"] for point in bare["curve"]] == [1.0, 2.0, 4.0], "what was lost or waits is no round"
    assert bare["failures"] == {}


def test_another_stage_can_be_compared(workspace, tmp_path, capsys):
    assert compare(workspace, tmp_path, "c1", "--stage", "verify", "--json")[0] == 0
    (arm,) = json.loads(capsys.readouterr().out)["arms"]
    assert [point["value"] for point in arm["curve"]] == [80.0]
    assert compare(workspace, tmp_path, "c1", "--stage", "moon")[0] == 1
    assert "explore, verify" in capsys.readouterr().err


def test_people_get_tables_and_a_drawing(workspace, tmp_path):
    ended = cli("compare", "c3", "c1", "c2", "--workspace", workspace, "--output", tmp_path / "a.svg", COLUMNS="160")
    assert ended.returncode == 0, ended.stderr
    for words in ("cognition off", "cognition on", "3 to 9", "c1, c2", "1 of 5: 1 candidate_error", "Wrote"):
        assert words in ended.stdout, words
    drawn = ElementTree.parse(tmp_path / "a.svg")
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "cognition on (c1, c2; mean, minimum to maximum)" in texts
    assert "number, version 1, stage explore" in texts


def test_the_drawing_goes_beside_the_caller_unless_told_otherwise(workspace, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--workspace", str(workspace), "c1"]) == 0
    assert (tmp_path / "compare.svg").is_file()
    assert "compare.svg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("campaigns", "said"),
    [(["c1", "c4"], "one domain"), (["c1", "c9"], "no c9"), (["n1"], "id of a campaign"), (["moon"], "an id such as")],
)
def test_what_cannot_be_compared_is_refused_and_draws_nothing(workspace, tmp_path, capsys, campaigns, said):
    status, output = compare(workspace, tmp_path, *campaigns)
    assert status == 1
    assert said in capsys.readouterr().err
    assert not output.parent.exists()


def test_a_campaign_where_nothing_has_scored_is_compared_all_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")

    async def make():
        async with open_bench(tmp_path / "workspace") as bench:
            await bench.campaign(score=None)

    asyncio.run(make())
    assert compare(tmp_path / "workspace", tmp_path, "c1")[0] == 0
    assert "nothing scored" in capsys.readouterr().out


def test_no_workspace_is_made(tmp_path, capsys):
    assert compare(tmp_path / "mistyped", tmp_path, "c1")[0] == 1
    assert "mistyped" in capsys.readouterr().err
    assert not (tmp_path / "mistyped").exists()
