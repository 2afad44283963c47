"""Domains and campaigns: choosing a problem, starting a search on it, and finding back into one."""

from importlib.metadata import EntryPoint

import anyio
import pytest
from asi_evolve.evolution.outcomes import Outcome

from .conftest import NUMBER_DOMAIN, program

pytestmark = pytest.mark.anyio


async def test_list_domains_tells_enough_to_choose_one(bench):
    listed = await bench.call("list_domains")
    packing = next(domain for domain in listed["domains"] if domain["name"] == "circle_packing")
    assert packing["instances"] == ["n26", "n32"]
    assert [stage["name"] for stage in packing["stages"]] == ["check", "explore", "verify"]
    assert packing["fitness"] == "maximize sum_radii"
    assert "brief" not in packing
    assert "start_campaign" in listed["next"]


async def test_one_broken_plug_in_hides_no_other_domain(bench, monkeypatch):
    broken = EntryPoint("broken", "no_such_package", "asi_evolve.domains")
    monkeypatch.setattr("asi_evolve.domains.loader.entry_points", lambda group: [broken])
    listed = {domain["name"]: domain for domain in (await bench.call("list_domains"))["domains"]}
    assert "stages" in listed["circle_packing"]
    assert "no_such_package" in listed["broken"]["broken"]
    assert (await bench.call("start_campaign", domain="circle_packing"))["campaign"] == "c1"


async def test_one_domain_is_shown_with_its_brief(bench):
    shown = await bench.call("list_domains", domain=NUMBER_DOMAIN)
    assert "at most 100" in shown["domain"]["brief"]
    assert shown["domain"]["candidate"] == {"entry": "number.py", "max_files": 1}
    assert shown["domain"]["metrics"] == {"value": "The number"}
    assert shown["domain"]["measures"] == {"complexity": "grows", "diversity": "grows"}
    assert NUMBER_DOMAIN in shown["next"]


async def test_a_campaign_begins_with_its_baseline_queued_and_its_knowledge_loaded(bench):
    started = await bench.call("start_campaign", domain=NUMBER_DOMAIN, goal="the largest number", seed=7, seeds=2)
    assert started["campaign"] == "c1"
    assert started["baseline"] == {"node": "n1", "experiment": "e1"}
    assert started["budget"] == {"experiments": 100}
    assert started["cognition_items"] == 2
    assert "number(seed: int)" in started["brief"]
    assert "wait_experiment(experiments=['e1'])" in started["next"]
    status = await bench.call("campaign_status", campaign="c1")
    assert status["goal"] == "the largest number"
    assert (status["settings"]["seed"], status["settings"]["seeds"]) == (7, 2)
    assert status["unfinished"][0]["experiment"] == "e1"


async def test_a_campaign_on_an_instance_says_which(bench):
    first = await bench.call("start_campaign", domain="circle_packing")
    second = await bench.call("start_campaign", domain="circle_packing", instance="n32")
    assert (first["instance"], second["instance"]) == ("n26", "n32")
    assert second["cognition_items"] == first["cognition_items"], "a domain's knowledge is stored once"


async def test_without_a_campaign_the_status_lists_all_newest_first(bench):
    empty = await bench.call("campaign_status")
    assert empty["campaigns"] == []
    assert "start_campaign" in empty["next"]
    await bench.campaign()
    await bench.campaign(score=None)
    listed = (await bench.call("campaign_status"))["campaigns"]
    assert [line["campaign"] for line in listed] == ["c2", "c1"]
    assert listed[1] | {"best_score": 1.0, "experiments": "1 of 100"} == listed[1]
    assert listed[0]["unfinished"] == 1


async def test_the_status_is_enough_to_go_on_after_losing_all_context(bench, campaign):
    better = await bench.node(campaign, 3.0, parents=["n1"])
    worse = await bench.node(campaign, 2.0, Outcome.CANDIDATE_ERROR, {"reason": "ValueError"})
    await bench.call("record_analysis", node=better, report="r", lessons=["Larger is better."])
    queued = await bench.queue(campaign, 5.0)
    status = await bench.call("campaign_status", campaign=campaign)
    assert status["domain"] == "number"
    assert status["used"] | {"experiments": 4, "rounds": 3, "best_score": 3.0} == status["used"]
    assert status["nodes"] == {"scored": 2, "candidate_error": 1, "queued": 1}
    assert status["best"][0]["id"] == better
    assert [step["score"] for step in status["improvements"]] == [1.0, 3.0]
    assert (status["plateau"]["state"], status["plateau"]["candidates_since_best"]) == ("too early", 1)
    assert status["latest"][0]["id"] == queued["node"]
    assert status["unfinished"][0]["experiment"] == queued["experiment"]
    assert status["needs_analysis"] == [worse]
    assert status["lessons"][0]["text"] == "Larger is better."
    assert "brief" not in status
    assert status["settings"]["sampler"] == "ucb1"


async def test_the_status_advises_the_next_step(bench):
    campaign = await bench.campaign(score=None, budget={"experiments": 3})

    async def advice():
        return (await bench.call("campaign_status", campaign=campaign))["next"]

    assert "wait_experiment(experiments=['e1'])" in await advice()
    await bench.settle("e1", score=1.0)
    assert "sample_nodes(campaign='c1')" in await advice()
    node = await bench.node(campaign, 2.0)
    assert f"get_node(node='{node}'), then record_analysis" in await advice()
    await bench.call("record_analysis", node=node, report="r")
    last = await bench.node(campaign, 3.0)
    await bench.call("record_analysis", node=last, report="r")
    assert "update_campaign(campaign='c1'" in await advice()
    assert "3 of 3 experiments" in await advice()


async def test_a_campaign_whose_baseline_failed_says_how_to_go_on(bench):
    campaign = await bench.campaign(score=None)
    await bench.settle("e1", Outcome.INFRASTRUCTURE_ERROR, reason="bwrap is missing")
    status = await bench.call("campaign_status", campaign=campaign)
    assert "promote_node" in status["next"]
    assert "promote_node" in await bench.refusal("sample_nodes", campaign=campaign)


async def test_a_plateau_is_called_by_its_name(bench, campaign):
    for value in range(12):
        node = await bench.node(campaign, value / 100)
        await bench.call("record_analysis", node=node, report="r")
    status = await bench.call("campaign_status", campaign=campaign)
    assert (status["plateau"]["state"], status["plateau"]["candidates_since_best"]) == ("plateau", 12)
    assert "No new best in the last 12 of 13 nodes" in status["plateau"]["reason"]
    assert "no new best in 12 candidates" in status["next"]


async def test_update_campaign_changes_what_it_is_given_and_nothing_else(bench, campaign):
    changed = await bench.call("update_campaign", campaign=campaign, sampler="greedy")
    assert changed["settings"]["sampler"] == "greedy"
    assert changed["settings"]["budget"] == {"experiments": 100}
    changed = await bench.call("update_campaign", campaign=campaign, budget={"experiments": 5, "rounds": 4})
    assert changed["settings"]["sampler"] == "greedy"
    assert changed["settings"]["budget"] == {"experiments": 5, "rounds": 4}
    assert "sample_nodes" in changed["next"]
    status = await bench.call("campaign_status", campaign=campaign)
    assert status["settings"] == changed["settings"]
    changed = await bench.call("update_campaign", campaign=campaign, budget={"cpu_seconds": 60, "rounds": None})
    assert changed["settings"]["budget"] == {"experiments": 5, "cpu_seconds": 60}, "no bound is raised unasked"
    text = await bench.refusal("update_campaign", campaign=campaign, budget={"experiments": None})
    assert "budget.experiments" in text


BOUNDS = {
    "experiments": ({"experiments": 2}, "2 of 2 experiments", {"experiments": 3}),
    "rounds": ({"rounds": 1}, "1 of 1 rounds", {"rounds": 2}),
    "cpu_seconds": ({"cpu_seconds": 1.0}, "1 of 1 CPU seconds", {"cpu_seconds": 9}),
    "gpu_seconds": ({"gpu_seconds": 0.5}, "0.5 of 0.5 GPU seconds", {"gpu_seconds": 9}),
    "wall_seconds": ({"wall_seconds": 0.001}, "seconds of wall time", {"wall_seconds": 3600}),
    "target_score": ({"target_score": 2.0}, "has reached target_score=2", {"target_score": 50}),
    "patience": ({"patience": 1}, "(patience=1)", {"patience": 2}),
}


@pytest.mark.parametrize("bound", BOUNDS)
async def test_a_bound_that_is_reached_refuses_more_and_says_how_to_raise_it(bench, bound):
    budget, said, raised = BOUNDS[bound]
    campaign = await bench.campaign(score=5.0 if bound == "patience" else 1.0)
    await bench.node(campaign, 2.0, told={"gpu_seconds": 0.5})
    tight = await bench.call("update_campaign", campaign=campaign, budget=budget)
    assert said in tight["reached"][0]
    for refused in (
        await bench.refusal(
            "run_experiment", campaign=campaign, name="more", motivation="more", code=program(3), wait_s=0
        ),
        await bench.refusal("promote_node", node="n1", stage="verify", wait_s=0),
        await bench.refusal("sample_nodes", campaign=campaign),
    ):
        assert said in refused
        assert f"{bound}=" in refused
        assert "update_campaign(campaign='c1', budget=" in refused
        assert "Nothing was stored" in refused
    assert said in (await bench.call("campaign_status", campaign=campaign))["reached"][0]
    lifted = await bench.call("update_campaign", campaign=campaign, budget=raised)
    assert "reached" not in lifted
    assert (await bench.queue(campaign, 3.0))["status"] == "queued"


async def test_concurrent_orders_never_go_over_the_budget(bench):
    campaign = await bench.campaign(budget={"experiments": 4})
    ended = []

    async def order(value):
        result = await bench.client.call_tool(
            "run_experiment",
            {"campaign": campaign, "name": "n", "motivation": "m", "code": program(value), "wait_s": 0},
        )
        ended.append(result.is_error)

    async with anyio.create_task_group() as group:
        for value in range(10):
            group.start_soon(order, value)
    assert (ended.count(False), ended.count(True)) == (3, 7)
