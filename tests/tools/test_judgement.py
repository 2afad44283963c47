"""Judgements as an agent meets them: marks change a node's score at once, and who is not judged is shown as such."""

import asyncio
import shutil
from pathlib import Path

import pytest
from asi_evolve.evolution.outcomes import Outcome

from .conftest import NUMBER_DOMAIN, open_bench

pytestmark = pytest.mark.anyio

ESSAY_DOMAIN = str(Path(__file__).parent.parent / "domain_folders" / "essay")
"""r = 0.25, marks 0 to 10 worth 0 to 40, clarity 1 to depth 3."""


def combined(metric, quality):
    return 0.75 * metric + 0.25 * 40 * quality


def essay(words):
    return f'def essay(seed):\n    return "{words}"\n'


@pytest.fixture
async def campaign(bench):
    """A campaign on the essay domain, c1, whose baseline n1 has 4 words."""
    return await bench.campaign(domain=ESSAY_DOMAIN, score=4.0)


async def write(bench, campaign, score, **arguments):
    return await bench.node(campaign, score, code=essay(f"words {score}"), **arguments)


async def test_a_node_counts_the_lowest_marks_until_it_is_judged_and_is_shown_as_unjudged(bench, campaign):
    node = await write(bench, campaign, 8.0, parents=["n1"])
    line = (await bench.call("search_nodes", campaign=campaign))["nodes"][0]
    assert (line["id"], line["score"], line["metric_score"], line["unjudged"]) == (node, 6.0, 8.0, True)
    status = await bench.call("campaign_status", campaign=campaign)
    assert status["needs_judgement"] == [node, "n1"]
    assert status["next"].startswith(f"record_judgement(node='{node}'")
    assert status["used"]["best_score"] == 6.0
    assert status["used"]["best_unjudged"] is True
    assert all(entry["unjudged"] for entry in [*status["best"], *status["latest"], *status["improvements"]])
    (listed,) = (await bench.call("campaign_status"))["campaigns"]
    assert (listed["best_score"], listed["best_unjudged"]) == (6.0, True)
    assert (await bench.call("get_node", node=node))["unjudged"] is True


async def test_marks_change_the_score_at_once(bench, campaign):
    node = await write(bench, campaign, 8.0)
    answer = await bench.call("record_judgement", node=node, marks={"clarity": 10, "depth": 2}, comment="Clear.")
    quality = (10 + 3 * 2) / 40
    assert (answer["score_before"], answer["unjudged_before"]) == (6.0, True)
    assert answer["score"] == pytest.approx(combined(8.0, quality))
    assert (answer["metric_score"], answer["mean_mark"], answer["rank"]) == (8.0, 4.0, 1)
    assert answer["needs_judgement"] == ["n1"]
    shown = await bench.call("get_node", node=node)
    assert "unjudged" not in shown
    assert shown["score"] == answer["score"]
    assert shown["judgements"] == [{"by": "agent", "marks": {"clarity": 10.0, "depth": 2.0}, "comment": "Clear."}]
    status = await bench.call("campaign_status", campaign=campaign)
    assert status["used"]["best_score"] == answer["score"]
    assert "best_unjudged" not in status["used"]


async def test_marks_decide_the_leaderboard_and_who_is_drawn_as_a_parent(bench):
    campaign = await bench.campaign(domain=ESSAY_DOMAIN, score=4.0, sampler="greedy")
    long, deep = await write(bench, campaign, 20.0), await write(bench, campaign, 14.0)
    assert (await bench.call("sample_nodes", campaign=campaign))["parent"]["id"] == long
    assert (await bench.call("record_judgement", node=long, marks={"clarity": 1, "depth": 0}))["rank"] == 1
    assert (await bench.call("record_judgement", node=deep, marks={"clarity": 9, "depth": 9}))["rank"] == 1
    sample = await bench.call("sample_nodes", campaign=campaign)
    assert sample["parent"]["id"] == deep
    assert [entry["id"] for entry in (await bench.call("search_nodes", campaign=campaign))["nodes"]] == [
        deep,
        long,
        "n1",
    ]


async def test_the_latest_judgement_of_a_judge_counts(bench, campaign):
    for mark in (10, 0, 4):
        answer = await bench.call("record_judgement", node="n1", marks={"clarity": mark, "depth": mark})
    assert answer["score"] == pytest.approx(combined(4.0, 0.4))
    (shown,) = (await bench.call("get_node", node="n1"))["judgements"]
    assert shown["marks"]["depth"] == 4


async def test_results_of_experiments_compare_metric_with_metric(bench, campaign):
    node = await write(bench, campaign, 8.0, parents=["n1"])
    result = await bench.call("wait_experiment", experiments=["e2"])
    assert (result["score"], result["node_score"], result["unjudged"]) == (8.0, 6.0, True)
    assert result["parent"] == {"node": "n1", "score": 4.0, "node_score": 3.0, "unjudged": True}
    assert result["gain"] == 4.0
    assert "node_gain" not in result
    assert result["best"].pop("noise").startswith(f"not known: {node} leads n1 by 3 ")
    assert result["best"] == {"node": node, "score": 8.0, "node_score": 6.0, "unjudged": True}
    assert "record_judgement" in result["next"] and "record_analysis" in result["next"]
    both = (await bench.call("wait_experiment", experiments=["e1", "e2"]))["experiments"]
    assert [(entry["score"], entry["node_score"]) for entry in both] == [(4.0, 3.0), (8.0, 6.0)]

    await bench.call("record_judgement", node="n1", marks={"clarity": 10, "depth": 10})
    assert "node_gain" not in await bench.call("wait_experiment", experiments=["e2"])
    await bench.call("record_judgement", node=node, marks={"clarity": 0, "depth": 0})
    result = await bench.call("wait_experiment", experiments=["e2"])
    assert (result["gain"], result["node_gain"]) == (4.0, pytest.approx(6.0 - 13.0))
    assert result["best"] == {"node": "n1", "score": 4.0, "node_score": 13.0}
    assert "record_judgement" not in result["next"] and "record_analysis" in result["next"]
    await bench.call("record_analysis", node=node, report="r")
    assert (await bench.call("wait_experiment", experiments=["e2"]))["next"] == f"sample_nodes(campaign='{campaign}')."
    assert "sample_nodes" in (await bench.call("campaign_status", campaign=campaign))["next"]


async def test_a_comparison_is_of_metrics_and_of_all_where_both_are_judged(bench, campaign):
    node = await write(bench, campaign, 8.0)
    await bench.call("record_judgement", node="n1", marks={"clarity": 10, "depth": 10})
    compared = await bench.call("compare_nodes", a="n1", b=node)
    assert compared["difference"]["mean"] == 4.0
    assert compared["b"]["unjudged"] and "node_gain" not in compared
    await bench.call("record_judgement", node=node, marks={"clarity": 0, "depth": 0})
    compared = await bench.call("compare_nodes", a="n1", b=node)
    assert (compared["difference"]["mean"], compared["node_gain"]) == (4.0, pytest.approx(6.0 - 13.0))
    assert compared["difference"]["of"] == "metric_score"


async def test_scores_that_do_not_compare_have_no_gain_though_both_are_judged(bench, campaign):
    dear = await write(bench, campaign, 8.0, parents=["n1"], stage="verify")
    other = await bench.campaign(domain="circle_packing", score=1.0)
    foreign = (await bench.call("search_nodes", campaign=other))["nodes"][0]["id"]
    for node in ("n1", dear):
        await bench.call("record_judgement", node=node, marks={"clarity": 10, "depth": 10})
    result = await bench.call("wait_experiment", experiments=["e2"])
    assert "node_gain" not in result
    for node in (dear, foreign):
        compared = await bench.call("compare_nodes", a="n1", b=node)
        assert "do not compare" in compared["note"] and "node_gain" not in compared


async def test_a_twin_that_is_not_judged_is_told_so(bench, campaign):
    await write(bench, campaign, 8.0)
    text = await bench.refusal(
        "run_experiment", campaign=campaign, name="twin", motivation="m", code=essay("words 8.0"), wait_s=0
    )
    assert "scored 6 (not judged yet)" in text


async def test_marks_stay_with_a_program_that_scores_again(bench, campaign):
    node = await write(bench, campaign, 8.0)
    await bench.call("record_judgement", node=node, marks={"clarity": 5, "depth": 5})
    queued = await bench.call("promote_node", node=node, stage="verify", seeds=2, wait_s=0)
    await bench.settle(queued["experiment"], score=12.0)
    shown = await bench.call("get_node", node=node)
    assert (shown["score"], shown["metric_score"], shown["score_stage"]) == (combined(12.0, 0.5), 12.0, "verify")
    failed = await bench.call("promote_node", node=node, wait_s=0)
    await bench.settle(failed["experiment"], Outcome.CANDIDATE_ERROR)
    shown = await bench.call("get_node", node=node)
    assert not {"score", "metric_score", "unjudged"} & shown.keys()
    assert shown["judgements"][0]["marks"] == {"clarity": 5.0, "depth": 5.0}


async def test_only_scored_nodes_are_judged(bench, campaign):
    failed = await write(bench, campaign, 8.0, outcome=Outcome.INVALID_OUTPUT)
    queued = (await bench.queue(campaign, 9.0, code=essay("nine")))["node"]
    marks = {"clarity": 5, "depth": 5}
    assert "it ended as invalid_output" in await bench.refusal("record_judgement", node=failed, marks=marks)
    assert "it is queued" in await bench.refusal("record_judgement", node=queued, marks=marks)
    assert "there is no n99" in await bench.refusal("record_judgement", node="n99", marks=marks)


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ({}, "none for clarity, depth"),
        ({"clarity": 5}, "none for depth"),
        ({"clarity": 5, "depth": 5, "length": 5}, "no 'length'"),
        ({"clarity": 5, "depth": 10.5}, "depth to be a number from 0 to 10"),
        ({"clarity": -1, "depth": 5}, "clarity to be a number from 0 to 10"),
        ({"clarity": 5, "depth": "5"}, "marks.depth"),
        ({"clarity": 5, "depth": True}, "marks.depth"),
        ({"clarity": 5, "depth": None}, "marks.depth"),
        ({"clarity": 5, "depth": float("nan")}, "marks.depth"),
        ([5, 5], "marks"),
    ],
)
async def test_marks_beside_the_rubric_are_refused(bench, campaign, marks, told):
    assert told in await bench.refusal("record_judgement", node="n1", marks=marks)


async def test_a_comment_is_inert_and_bounded(bench, campaign):
    marks = {"clarity": 5, "depth": 5}
    assert "at most 2000" in await bench.refusal("record_judgement", node="n1", marks=marks, comment="c" * 2001)
    await bench.call("record_judgement", node="n1", marks=marks, comment="Cl\x1b[31mear\u202e.")
    assert (await bench.call("get_node", node="n1"))["judgements"][0]["comment"] == "Cl[31mear."


async def test_a_domain_without_a_rubric_has_nothing_to_judge_and_answers_as_ever(bench):
    campaign = await bench.campaign()
    node = await bench.node(campaign, 2.0, parents=["n1"])
    assert "number has none" in await bench.refusal("record_judgement", node=node, marks={"clarity": 5})
    texts = [
        await bench.text("campaign_status", campaign=campaign),
        await bench.text("get_node", node=node),
        await bench.text("wait_experiment", experiments=["e2"]),
        await bench.text("list_domains", domain=NUMBER_DOMAIN),
    ]
    for word in ('"judge"', "unjudged", "judgement", "metric_score", "node_score", "node_gain"):
        assert [text for text in texts if word in text] == []


async def test_the_rubric_is_shown_before_and_when_a_campaign_starts(bench):
    rubric = (await bench.call("list_domains", domain=ESSAY_DOMAIN))["domain"]["judge"]
    assert (rubric["weight"], rubric["scale"], rubric["maps_to"]) == (0.25, [0, 10], [0, 40])
    assert rubric["criteria"]["depth"] == {"weight": 3.0, "about": "10: it says something new. 0: it says nothing."}
    started = await bench.call("start_campaign", domain=ESSAY_DOMAIN)
    assert "by clarity, depth" in started["judge"]
    assert "0.75 * metric + 0.25 * judge" in started["judge"]


def edited(tmp_path, old, new):
    folder = tmp_path / "essay"
    shutil.copytree(ESSAY_DOMAIN, folder)
    toml = folder / "domain.toml"
    assert old in toml.read_text()
    toml.write_text(toml.read_text().replace(old, new, 1))
    return folder


async def test_a_domain_can_keep_the_agent_from_marking_its_own_programs(bench, tmp_path):
    folder = edited(tmp_path, "weight = 0.25", 'weight = 0.25\njudges = ["endpoint"]')
    await bench.campaign(domain=str(folder), score=4.0)
    text = await bench.refusal("record_judgement", node="n1", marks={"clarity": 10, "depth": 10})
    assert "allows (endpoint), but got agent" in text


async def test_another_version_of_the_domain_does_not_judge(bench, tmp_path):
    folder = edited(tmp_path, "nothing", "nothing")
    await bench.campaign(domain=str(folder), score=4.0)
    toml = folder / "domain.toml"
    toml.write_text(toml.read_text().replace('version = "1"', 'version = "2"'))
    text = await bench.refusal("record_judgement", node="n1", marks={"clarity": 10, "depth": 10})
    assert "is now version 2: judgements would not compare" in text


async def test_a_rubric_of_the_largest_size_fits_the_default_answers(bench, tmp_path):
    criteria = "".join(f'[judge.criteria.{"c" * 60}{place:02}]\ndescription = "{"d" * 2000}"\n' for place in range(18))
    folder = edited(tmp_path, "[judge.criteria.clarity]", f"{criteria}\n[judge.criteria.clarity]")
    (folder / "brief.md").write_text("b" * 20_000)
    assert len((await bench.text("list_domains", domain=str(folder))).encode()) <= 10_000
    assert len((await bench.text("start_campaign", domain=str(folder))).encode()) <= 10_000


async def test_agents_that_judge_at_once_leave_the_last_judgement_and_its_score(tmp_path):
    async with open_bench(tmp_path / "workspace") as one, open_bench(tmp_path / "workspace") as other:
        campaign = await one.campaign(domain=ESSAY_DOMAIN, score=4.0)
        await asyncio.gather(
            *(
                bench.call("record_judgement", node="n1", marks={"clarity": mark, "depth": mark})
                for mark, bench in enumerate([one, other] * 4)
            )
        )
        (shown,) = (await one.call("get_node", node="n1"))["judgements"]
        best = (await other.call("campaign_status", campaign=campaign))["used"]["best_score"]
        assert best == pytest.approx(combined(4.0, shown["marks"]["depth"] / 10))
