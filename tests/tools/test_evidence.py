"""How sure scores are, as an agent sees it: leads, paired differences, paired seeds, effects of tags, best of N."""

import anyio
import pytest
from asi_evolve.database import experiments
from asi_evolve.evolution.models import Quarantine
from asi_evolve.evolution.outcomes import Outcome

from .conftest import program

pytestmark = pytest.mark.anyio


async def scored(bench, campaign, *values, **arguments):
    """A node that scored these with the seeds 0, 1, ..."""
    queued = await bench.queue(campaign, values[0], seeds=len(values), **arguments)
    await bench.settle(queued["experiment"], scores=dict(enumerate(values)))
    return queued


async def promoted(bench, node, scores, **arguments):
    """Run a node again; the answer of waiting for it."""
    queued = await bench.call("promote_node", node=node, wait_s=0, **arguments)
    await bench.settle(queued["experiment"], scores=scores, score=0.0)
    return await bench.call("wait_experiment", experiments=[queued["experiment"]])


async def test_a_lead_is_said_to_be_inside_the_noise_wherever_the_best_node_is_shown(bench, campaign):
    await scored(bench, campaign, 2.0, 4.0, 3.1)
    best = await scored(bench, campaign, 3.5, 3.0, 3.9)
    for shown in (
        (await bench.call("campaign_status", campaign=campaign))["best"][0],
        await bench.call("search_nodes", campaign=campaign),
        (await bench.call("wait_experiment", experiments=[best["experiment"]]))["best"],
    ):
        assert shown["noise"].startswith("n3 leads n2 by 0.4333 (3 shared seeds), inside the noise (95 % interval -")
    assert "noise" not in (await bench.call("campaign_status", campaign=campaign))["best"][1]


async def test_a_result_that_is_not_the_best_says_nothing_of_the_lead(bench, campaign):
    await scored(bench, campaign, 5.0, 5.1)
    worse = await scored(bench, campaign, 2.0, 2.1)
    result = await bench.call("wait_experiment", experiments=[worse["experiment"]])
    assert result["best"] == {"node": "n2", "score": 5.05}


@pytest.mark.parametrize(
    "arguments",
    [{"offset": 1}, {"sort": "newest"}, {"outcome": "scored"}, {"query": "Try"}],
)
async def test_only_the_head_of_the_leaderboard_tells_of_the_lead(bench, campaign, arguments):
    await scored(bench, campaign, 2.0)
    assert "noise" in await bench.call("search_nodes", campaign=campaign, limit=1)
    assert "noise" not in await bench.call("search_nodes", campaign=campaign, **arguments)


async def test_with_one_seed_the_lead_is_not_known_and_what_to_do_works(bench, campaign):
    node = (await scored(bench, campaign, 2.0))["node"]
    noise = (await bench.call("campaign_status", campaign=campaign))["best"][0]["noise"]
    assert noise.startswith("not known: n2 leads n1 by 1 (1 shared seed), no interval: n2 and n1 have one seed")
    await promoted(bench, node, {1: 2.2, 2: 2.1, 3: 1.9, 4: 2.0}, seeds=4)
    await promoted(bench, "n1", {1: 1.1, 2: 1.2, 3: 1.0, 4: 0.9}, seeds=4)
    noise = (await bench.call("campaign_status", campaign=campaign))["best"][0]["noise"]
    assert noise.startswith("n2 leads n1 by 1 (5 shared seeds), outside the noise (95 % interval ")


async def test_a_campaign_with_one_scored_node_has_no_lead(bench, campaign):
    assert "noise" not in (await bench.call("campaign_status", campaign=campaign))["best"][0]
    assert "noise" not in (await bench.call("wait_experiment", experiments=["e1"]))["best"]


async def test_a_comparison_is_over_the_seeds_that_both_have(bench, campaign):
    first = (await scored(bench, campaign, 1.0, 5.0, 9.0))["node"]
    second = (await scored(bench, campaign, 1.5, 5.4, 9.6, 100.0))["node"]
    compared = await bench.call("compare_nodes", a=first, b=second)
    found = compared["difference"]
    assert (found["stage"], found["seeds"], found["paired"]) == ("explore", 3, True)
    assert found["mean"] == pytest.approx(0.5)
    assert found["standard_error"] == pytest.approx(0.057735, rel=1e-4)
    assert found["interval"] == pytest.approx([0.251586, 0.748414], rel=1e-4)
    assert found["text"] == (
        "n3 scores 0.5 more than n2 with the 3 seeds they share: outside the noise (95 % interval 0.2516 to 0.7484)."
    )
    assert "note" not in compared


async def test_a_candidate_that_scores_the_same_with_every_seed_gets_no_interval(bench, campaign):
    first, second = [(await scored(bench, campaign, value, value, value))["node"] for value in (2.0, 3.0)]
    found = (await bench.call("compare_nodes", a=first, b=second))["difference"]
    assert "interval" not in found
    assert "exactly as much with every seed seen" in found["text"]


async def test_nodes_are_compared_at_the_deepest_stage_that_both_have_run(bench, campaign):
    first, second = [(await scored(bench, campaign, value))["node"] for value in (2.0, 3.0)]
    await promoted(bench, first, {0: 4.0, 1: 5.0, 2: 6.0}, stage="verify")
    compared = await bench.call("compare_nodes", a=first, b=second)
    assert (compared["difference"]["stage"], compared["difference"]["mean"]) == ("explore", 1.0)
    assert "do not compare; the difference is that at stage explore" in compared["note"]
    assert f"promote_node(node='{first}', stage='explore', seeds=4)" in compared["difference"]["text"]
    await promoted(bench, second, {0: 4.5, 1: 5.7, 2: 6.6}, stage="verify")
    compared = await bench.call("compare_nodes", a=first, b=second)
    assert (compared["difference"]["stage"], compared["difference"]["mean"]) == ("verify", pytest.approx(0.6))
    assert "note" not in compared


async def test_nodes_without_a_shared_stage_do_not_compare_and_the_answer_says_how_they_would(bench, campaign):
    queued = await bench.queue(campaign, 2.0, stage="verify", seeds=2)
    await bench.settle(queued["experiment"], score=2.0)
    compared = await bench.call("compare_nodes", a="n1", b=queued["node"])
    assert "difference" not in compared
    assert "promote_node(node='n1', stage='verify')" in compared["note"]


async def test_nodes_of_different_problems_do_not_compare(bench, campaign):
    started = await bench.call("start_campaign", domain="circle_packing")
    await bench.settle(started["baseline"]["experiment"], score=2.0)
    compared = await bench.call("compare_nodes", a="n1", b=started["baseline"]["node"])
    assert "difference" not in compared
    assert "different problems (number 1, circle_packing" in compared["note"]
    twin = await bench.campaign(score=1.5)
    compared = await bench.call("compare_nodes", a="n1", b="n3")
    assert twin == "c3"
    assert compared["difference"]["mean"] == 0.5


async def test_promoting_takes_the_seeds_of_parent_baseline_and_best_first(bench, campaign):
    await promoted(bench, "n1", {1: 1.0, 2: 1.0}, seeds=2)
    parent = (await scored(bench, campaign, 2.0))["node"]
    await promoted(bench, parent, {1: 2.0, 2: 2.0, 3: 2.0, 4: 2.0}, seeds=4)
    async with (await bench.workspace()).transaction() as tx:  # seeds far from the campaign's own, as if run by hand
        await experiments.enqueue(tx, campaign_id=1, node_id=int(parent[1:]), stage="explore", seeds=[70, 71])
    await bench.settle("e5", score=2.0)
    child = (await scored(bench, campaign, 3.0, parents=[parent]))["node"]
    result = await promoted(bench, child, {}, seeds=8)
    assert [run["seed"] for run in result["runs"]] == [1, 2, 3, 4, 70, 71, 5, 6]
    assert (result["difference"]["seeds"], result["difference"]["paired"]) == (7, True)


async def test_the_hidden_seeds_of_a_quarantine_are_never_taken_for_pairs(bench, campaign):
    parent = await bench.queue(campaign, 2.0)
    number = int(parent["experiment"][1:])
    held = Quarantine(
        cause="outlier", reason="r", stage="explore", score=2.0, bound=None, median=1.0, seeds=(777,), former=None
    )
    workspace = await bench.workspace()
    async with workspace.transaction() as tx:
        await experiments.hold(tx, number, held)
        await tx.execute("UPDATE experiments SET seeds_json = '[0, 777]', status = 'queued' WHERE id = ?", (number,))
    await bench.settle(parent["experiment"], score=2.0)
    shown = await bench.call("get_node", node=parent["node"])
    assert [run["seed"] for run in shown["runs"]] == [0, 777]
    child = (await scored(bench, campaign, 3.0, parents=[parent["node"]]))["node"]
    result = await promoted(bench, child, {}, seeds=3)
    assert [run["seed"] for run in result["runs"]] == [1, 2, 3]


async def test_two_who_promote_at_once_get_one_experiment_with_fresh_seeds(bench, campaign):
    refused = []

    async def promote():
        result = await bench.client.call_tool("promote_node", {"node": "n1", "seeds": 2, "wait_s": 0})
        refused.append(result.is_error)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(promote)
    assert sorted(refused) == [False, True, True]
    await bench.settle("e2", score=1.0)
    result = await bench.call("wait_experiment", experiments=["e2"])
    assert [run["seed"] for run in result["runs"]] == [1, 2]


async def test_a_gain_is_only_told_at_a_stage_that_the_parent_has_run(bench, campaign):
    child = (await scored(bench, campaign, 3.0, parents=["n1"]))["node"]
    result = await promoted(bench, child, {0: 30.0, 1: 31.0}, stage="verify", seeds=2)
    assert "gain" not in result
    assert "promote_node(node='n1', stage='verify')" in result["difference"]["text"]
    await promoted(bench, "n1", {0: 10.0, 1: 12.0}, stage="verify", seeds=2)
    result = await bench.call("wait_experiment", experiments=[result["experiment"]])
    assert result["gain"] == result["difference"]["mean"] == 19.5
    assert "outside the noise" in result["difference"]["text"]


async def with_tags(bench, campaign, value, tags, **arguments):
    node = await bench.node(campaign, value, **{"parents": ["n1"]} | arguments)
    await bench.call("record_analysis", node=node, report="r", tags=tags)
    return node


async def test_the_status_in_full_says_which_tags_went_with_gains_and_failures(bench, campaign):
    for place in range(12):
        tags = ["gradient"] if place % 2 else ["restart"]
        await with_tags(bench, campaign, (4.0 if place % 2 else 2.0) + place / 50, tags)
    for place in range(4):
        await with_tags(
            bench,
            campaign,
            place,
            ["Bold "],
            outcome=Outcome.CANDIDATE_ERROR,
            code=program(place, "#\n" * place + "import math\n"),
        )
    full = await bench.call("campaign_status", campaign=campaign, detail="full")
    found = full["effects"]
    assert (found["observations"], found["children"]) == (12, 16)
    by_tag = {line["tag"]: line for line in found["gains"]}
    assert by_tag["gradient"]["verdict"] == "helped"
    assert by_tag["gradient"]["children"] == 6
    assert by_tag["gradient"]["mean_gain"] == pytest.approx(3.12)
    assert by_tag["gradient"]["interval"][0] > 0
    assert by_tag["restart"]["verdict"] == "hurt"
    assert "by luck alone" in found["note"]
    assert found["failures"][0] == {"tag": "bold", "failed": "4 of 4 (51% to 100%)"}
    again = await bench.call("campaign_status", campaign=campaign, detail="full")
    assert again["effects"] == found, "seeded"
    assert "effects" not in await bench.call("campaign_status", campaign=campaign)


async def test_below_ten_gains_the_status_claims_nothing_and_says_how_many_there_are(bench, campaign):
    for place in range(9):
        await with_tags(bench, campaign, 2.0 + place, ["gradient"] if place % 2 else ["restart"])
    found = (await bench.call("campaign_status", campaign=campaign, detail="full"))["effects"]
    assert found["observations"] == 9
    assert "gains" not in found
    assert "failures" not in found
    assert "known tags: 9;" in found["note"]
    assert "below 10 nothing is claimed" in found["note"]


async def test_the_status_in_full_compares_the_search_with_as_many_tries_from_the_baseline(bench, campaign):
    for place in range(9):
        await bench.node(campaign, 2.0 + place / 10, parents=["n1"])
    told = (await bench.call("campaign_status", campaign=campaign, detail="full"))["best_of_n"]
    assert told == {
        "tries": 9,
        "text": "Scored or failed candidates whose only parent is the baseline: 9; an estimate takes 10.",
    }
    await bench.node(campaign, 1.0, Outcome.LIMIT, parents=["n1"])
    await bench.node(campaign, 9.0, parents=["n10"])
    told = (await bench.call("campaign_status", campaign=campaign, detail="full"))["best_of_n"]
    assert (told["stage"], told["tries"], told["failed"], told["draws"], told["best_found"]) == (
        "explore",
        10,
        1,
        11,
        9.0,
    )
    assert 2.5 < told["expected_best"] < 2.8
    low, high = told["bootstrap_interval"]
    assert low <= told["expected_best"] <= high <= 2.8
    assert "A lower bound" in told["text"]
    assert "with a chance of 9%" in told["text"]


async def test_a_plateau_counts_no_candidate_that_the_machine_broke(bench, campaign):
    for value in range(9):
        await bench.node(campaign, value / 100)
    for value in range(5):
        await bench.node(campaign, value / 100 + 0.5, Outcome.INFRASTRUCTURE_ERROR)
    told = (await bench.call("campaign_status", campaign=campaign))["plateau"]
    assert (told["state"], told["candidates_since_best"]) == ("too early", 9)
    await bench.node(campaign, 0.9)
    told = (await bench.call("campaign_status", campaign=campaign))["plateau"]
    assert (told["state"], told["candidates_since_best"]) == ("plateau", 10)
    await bench.node(campaign, 2.0)
    told = (await bench.call("campaign_status", campaign=campaign))["plateau"]
    assert (told["state"], told["candidates_since_best"]) == ("improving", 0)
    assert told["reason"].startswith("1 new best in the last 10 of 12 nodes")
