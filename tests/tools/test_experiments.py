"""Ordering experiments, waiting for them, ending them, and running them again."""

import time
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.outcomes import Outcome
from mcp import Client

from .conftest import NUMBER_DOMAIN, open_bench, program, settle

pytestmark = pytest.mark.anyio

EDIT = "<<<<<<< SEARCH\n    return 1.0\n=======\n    return 7.0\n>>>>>>> REPLACE"


async def test_a_candidate_that_does_not_finish_in_time_gives_a_handle(bench, campaign):
    queued = await bench.queue(campaign, code="def number(seed):\n    return max(2.0, seed)\n", parents=["n1"])
    assert queued == {
        "experiment": "e2",
        "node": "n2",
        "status": "queued",
        "stage": "explore",
        "next": "It goes on without you. wait_experiment(experiments=['e2']).",
    }


async def test_a_result_comes_with_metrics_gain_parent_and_best(bench, campaign):
    queued = await bench.queue(campaign, 2.5, parents=["n1"])
    await bench.settle(queued["experiment"], score=2.5)
    result = await bench.call("wait_experiment", experiments=["e2"])
    assert (result["status"], result["outcome"], result["score"], result["gain"]) == ("finished", "scored", 2.5, 1.5)
    assert result["parent"] == {"node": "n1", "score": 1.0}
    assert result["best"] | {"node": "n2", "score": 2.5} == result["best"]
    assert result["runs"][0]["metrics"] == {"value": 2.5}
    assert "record_analysis(node='n2'" in result["next"]


@pytest.mark.parametrize("outcome", [Outcome.CANDIDATE_ERROR, Outcome.INVALID_OUTPUT, Outcome.LIMIT, Outcome.REJECTED])
async def test_a_failure_has_a_reason_and_no_score(bench, campaign, outcome):
    queued = await bench.queue(campaign, 2.0)
    await bench.settle(queued["experiment"], outcome, reason="what went wrong", logs={"stderr": "last words"})
    result = await bench.call("wait_experiment", experiments=[queued["experiment"]])
    assert result["outcome"] == outcome
    assert result["reason"] == "what went wrong"
    assert "score" not in result
    assert ("stderr_tail" in result) == (outcome is Outcome.CANDIDATE_ERROR)
    assert "record_analysis" in result["next"]


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.INFRASTRUCTURE_ERROR])
async def test_what_is_not_the_candidates_fault_says_so_and_can_be_run_again(bench, campaign, outcome):
    node = await bench.node(campaign, 2.0, outcome, {"reason": "the machine died"})
    result = await bench.call("wait_experiment", experiments=["e2"])
    assert "Not the candidate's fault" in result["next"]
    assert f"promote_node(node='{node}', stage='explore')" in result["next"]
    assert "needs_analysis" not in await bench.call("campaign_status", campaign=campaign)
    again = await bench.call("promote_node", node=node, wait_s=0)
    await bench.settle(again["experiment"], score=2.0)
    assert (await bench.call("get_node", node=node))["score"] == 2.0


async def test_edits_are_applied_to_the_first_parent(bench, campaign):
    queued = await bench.queue(campaign, edits=EDIT, parents=["n1"])
    code = await bench.text("get_node", node=queued["node"], part="code")
    assert "return 7.0" in code
    assert "return 1.0" not in code


async def test_a_candidate_can_be_a_mapping_of_files(bench):
    campaign = await bench.campaign(domain="circle_packing")
    files = {
        "packing.py": "from layouts.ring import ring\n\ndef construct_packing():\n    return ring(26)\n",
        "layouts/ring.py": "def ring(n):\n    return [], [], 0.0\n",
    }
    queued = await bench.queue(campaign, files=files, parents=["n1"])
    assert (await bench.call("get_node", node=queued["node"]))["files"] == {
        path: len(text) for path, text in files.items()
    }
    assert "layouts/ring.py" in await bench.text("get_node", node=queued["node"], part="code", path="layouts/ring.py")


async def test_what_inspired_a_node_is_kept_with_it(bench, campaign):
    first = await bench.node(campaign, 2.0)
    await bench.call("record_analysis", node=first, report="r", lessons=["a lesson"])
    queued = await bench.queue(campaign, 3.0, parents=[first, "n1"], inspired_by=["k1", "l1", "n1"])
    node = await bench.call("get_node", node=queued["node"])
    assert node["parents"] == [first, "n1"]
    assert node["inspired_by"] == ["k1", "l1", "n1"]
    assert (await bench.call("get_node", node=first))["children"] == [queued["node"]]


async def test_an_experiment_runs_with_the_campaigns_seeds_unless_told_otherwise(bench):
    campaign = await bench.campaign(seed=10, seeds=2)
    first, second = await bench.queue(campaign, 2.0), await bench.queue(campaign, 3.0, seeds=3)
    for queued, seeds in ((first, [10, 11]), (second, [10, 11, 12])):
        await bench.settle(queued["experiment"], score=1.0)
        runs = (await bench.call("wait_experiment", experiments=[queued["experiment"]]))["runs"]
        assert [run["seed"] for run in runs] == seeds


async def test_the_same_key_again_returns_the_same_experiment(bench, campaign):
    first = await bench.queue(campaign, 2.0, idempotency_key="round-1")
    again = await bench.queue(campaign, 3.0, idempotency_key=" round-1 ")
    assert again["experiment"] == first["experiment"]
    assert again["repeated"] is True
    assert (await bench.call("campaign_status", campaign=campaign))["used"]["experiments"] == 2
    other = await bench.campaign()
    assert (await bench.queue(other, 2.0, idempotency_key="round-1"))["experiment"] != first["experiment"]


async def test_the_same_key_returns_its_experiment_when_the_budget_is_used_up(bench):
    campaign = await bench.campaign(budget={"experiments": 2})
    first = await bench.queue(campaign, 2.0, idempotency_key="key")
    assert (await bench.queue(campaign, 2.0, idempotency_key="key"))["experiment"] == first["experiment"]


async def test_the_same_key_eight_times_at_once_is_one_experiment(bench, campaign):
    answers = []

    async def order():
        answers.append(await bench.queue(campaign, 2.0, idempotency_key="key"))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(order)
    assert {answer["experiment"] for answer in answers} == {"e2"}
    assert len(answers) == 8
    assert (await bench.call("campaign_status", campaign=campaign))["used"]["experiments"] == 2


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_same_program_from_eight_clients_at_once_is_one_node(tmp_path, mode):
    async with eight_clients(tmp_path, mode) as (bench, clients):
        campaign = await bench.campaign()
        results = []

        async def order(client, place):
            arguments = {
                "campaign": campaign,
                "name": f"client {place}",
                "motivation": "the same idea",
                "code": program(2.0, comment=f"# client {place}\n"),
                "wait_s": 0,
            }
            results.append(await client.call_tool("run_experiment", arguments))

        async with anyio.create_task_group() as group:
            for place, client in enumerate(clients):
                group.start_soon(order, client, place)
        stored = [result for result in results if not result.is_error]
        refused = [result.content[0].text for result in results if result.is_error]
        assert (len(stored), len(refused)) == (1, 7)
        assert all("this is the program of n2" in text for text in refused)
        assert (await bench.call("campaign_status", campaign=campaign))["nodes"] == {"scored": 1, "queued": 1}


@asynccontextmanager
async def eight_clients(root, mode):
    """Two servers on one workspace, four clients on each, and a bench to look at it."""
    async with AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(open_bench(root, mode)) for _ in range(2)]
        yield (
            benches[0],
            [await stack.enter_async_context(Client(benches[place % 2].server, mode=mode)) for place in range(8)],
        )


async def test_wait_returns_as_soon_as_the_experiment_ends(bench, campaign):
    queued = await bench.queue(campaign, 2.0)

    async def engineer():
        await anyio.sleep(0.3)
        await bench.settle(queued["experiment"], score=2.0)

    begin = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(engineer)
        result = await bench.call("wait_experiment", experiments=[queued["experiment"]], wait_s=30)
    assert result["score"] == 2.0
    assert time.monotonic() - begin < 10


async def test_wait_for_several_tells_each_and_what_is_left(bench, campaign):
    first, second = await bench.queue(campaign, 2.0), await bench.queue(campaign, 3.0)
    handles = [first["experiment"], second["experiment"]]
    await bench.settle(handles[1], score=3.0)
    found = await bench.call("wait_experiment", experiments=handles, mode="any", wait_s=30)
    assert [entry["status"] for entry in found["experiments"]] == ["queued", "finished"]
    assert found["next"] == "wait_experiment(experiments=['e2'])."
    begin = time.monotonic()
    await bench.call("wait_experiment", experiments=handles, mode="all", wait_s=0)
    assert time.monotonic() - begin < 5, "wait_s=0 just looks"
    await bench.settle(handles[0], score=2.0)
    found = await bench.call("wait_experiment", experiments=handles)
    assert "record_analysis for each: ['n2', 'n3']" in found["next"]


async def test_waiting_reports_progress(bench, campaign, monkeypatch):
    monkeypatch.setattr("asi_evolve.tools.experiments.PROGRESS_EVERY_S", 0.1)
    queued = await bench.queue(campaign, 2.0)
    said = []

    async def hear(progress, total, message):
        said.append((progress, total, message))

    await bench.client.call_tool(
        "wait_experiment", {"experiments": [queued["experiment"]], "wait_s": 0.5}, progress_callback=hear
    )
    assert {entry[1:] for entry in said} == {(1, "e2 queued")}
    parts = [part for part, _, _ in said]
    assert parts == sorted(set(parts)), "the protocol wants it to rise"
    assert parts[-1] < 0.01, "nothing of it is done"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_cancelling_a_call_ends_the_wait_and_not_the_experiment(tmp_path, mode):
    async with open_bench(tmp_path, mode) as bench:
        campaign = await bench.campaign()
        queued = await bench.queue(campaign, 2.0)
        with anyio.move_on_after(0.3) as cut:
            await bench.call("wait_experiment", experiments=[queued["experiment"]], wait_s=45)
        assert cut.cancelled_caught
        with anyio.move_on_after(0.3) as cut:
            await bench.queue(campaign, 3.0, wait_s=45)
        assert cut.cancelled_caught
        status = await bench.call("campaign_status", campaign=campaign)
        assert [entry["status"] for entry in status["unfinished"]] == ["queued", "queued"]
        for handle in ("e2", "e3"):
            await bench.settle(handle, score=2.0)
        assert (await bench.call("wait_experiment", experiments=["e2"]))["outcome"] == "scored"
        assert (await bench.queue(campaign, 4.0))["status"] == "queued"


async def test_a_queued_experiment_is_cancelled_at_once(bench, campaign):
    queued = await bench.queue(campaign, 2.0)
    ended = await bench.call("cancel_experiment", experiment=queued["experiment"])
    assert (ended["status"], ended["outcome"]) == ("finished", "cancelled")
    assert "next" in ended
    again = await bench.call("cancel_experiment", experiment=queued["experiment"])
    assert again["outcome"] == "cancelled"
    assert "nothing was changed" in again["next"]


async def test_a_finished_experiment_stays_as_it_is_when_it_is_cancelled(bench, campaign):
    answer = await bench.call("cancel_experiment", experiment="e1")
    assert (answer["outcome"], answer["score"]) == ("scored", 1.0)
    assert (await bench.call("get_node", node="n1"))["score"] == 1.0


async def test_promoting_runs_seeds_that_the_stage_has_not_scored(bench, campaign):
    verified = await bench.call("promote_node", node="n1", stage="verify", wait_s=0)
    assert verified["stage"] == "verify"
    await bench.settle(verified["experiment"], score=1.0)
    result = await bench.call("wait_experiment", experiments=[verified["experiment"]])
    assert [run["seed"] for run in result["runs"]] == [0, 1, 2], "the stage's own number of seeds"
    more = await bench.call("promote_node", node="n1", stage="verify", seeds=2, wait_s=0)
    await bench.settle(more["experiment"], score=2.0)
    result = await bench.call("wait_experiment", experiments=[more["experiment"]])
    assert [run["seed"] for run in result["runs"]] == [3, 4]
    node = await bench.call("get_node", node="n1")
    assert (node["score"], node["seeds"], node["score_stage"]) == (1.4, 5, "verify")
    assert node["standard_error"] > 0


@pytest.mark.parametrize("outcome", [Outcome.CANDIDATE_ERROR, Outcome.INVALID_OUTPUT, Outcome.LIMIT])
async def test_a_node_that_fails_with_another_seed_loses_its_score(bench, campaign, outcome):
    node = await bench.node(campaign, 7.0)
    again = await bench.call("promote_node", node=node, seeds=1, wait_s=0)
    await bench.settle(again["experiment"], outcome, reason="only seed 0 works")
    shown = await bench.call("get_node", node=node)
    assert shown["outcome"] == outcome
    assert "score" not in shown
    assert shown["runs"][0]["score"] == 7.0, "what it has been through stays"
    assert (await bench.call("campaign_status", campaign=campaign))["best"][0]["id"] == "n1"
    assert (await bench.call("sample_nodes", campaign=campaign, references=5))["parent"]["id"] == "n1"
    assert (await bench.call("search_nodes", campaign=campaign))["nodes"][0]["id"] == "n1"


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.LOST, Outcome.INFRASTRUCTURE_ERROR])
async def test_a_rerun_that_says_nothing_of_the_candidate_leaves_what_was_found(bench, campaign, outcome):
    scored, failed = await bench.node(campaign, 7.0), await bench.node(campaign, 8.0, Outcome.LIMIT)
    for node, stands in ((scored, ("scored", 7.0)), (failed, ("limit", None))):
        again = await bench.call("promote_node", node=node, seeds=1, wait_s=0)
        waiting = await bench.call("get_node", node=node)
        assert (waiting["outcome"], waiting.get("score")) == stands
        assert waiting["status"] == "queued"
        await bench.settle(again["experiment"], outcome)
        shown = await bench.call("get_node", node=node)
        assert (shown["outcome"], shown.get("score")) == stands
        assert "status" not in shown
    assert (await bench.call("campaign_status", campaign=campaign))["nodes"] == {"scored": 2, "limit": 1}


async def test_the_reason_of_a_failure_is_told_once(bench, campaign):
    node = await bench.node(campaign, 2.0, Outcome.INFRASTRUCTURE_ERROR, {"logs": {"evaluator": "Traceback"}})
    result = await bench.call("wait_experiment", experiments=["e2"])
    assert result["evaluator_tail"] == "Traceback"
    node = await bench.node(campaign, 3.0, Outcome.LIMIT, {"reason": "Used 11 s of cpu."})
    result = await bench.call("wait_experiment", experiments=["e3"])
    assert result["node"] == node
    assert result["reason"] == "Used 11 s of cpu."
    assert "reason" not in result["runs"][0]


async def test_a_name_stays_on_one_line(bench, campaign):
    node = await bench.node(campaign, 2.0, name="two\nlines\tand a \x1b[31mcolour")
    name = (await bench.call("get_node", node=node))["name"]
    assert name.startswith("two lines and a")
    assert name.isprintable()


async def test_promoting_one_node_twice_at_once_is_one_experiment(bench, campaign):
    ended = []

    async def promote():
        result = await bench.client.call_tool("promote_node", {"node": "n1", "stage": "verify", "wait_s": 0})
        ended.append(result.is_error)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(promote)
    assert sorted(ended) == [False, True, True, True, True]


async def test_an_experiment_that_another_process_ends_is_seen(tmp_path):
    async with open_bench(tmp_path) as bench:
        campaign = await bench.campaign()
        queued = await bench.queue(campaign, 2.0)
        async with open_workspace(tmp_path) as other:
            await settle(other, int(queued["experiment"][1:]), score=2.0)
        assert (await bench.call("wait_experiment", experiments=[queued["experiment"]]))["score"] == 2.0


async def test_a_server_that_cannot_start_the_engineer_says_so_and_keeps_what_was_queued(tmp_path):
    async with open_bench(tmp_path, engineer_command=["/nowhere/engineer"]) as bench:
        result = await bench.client.call_tool("start_campaign", {"domain": NUMBER_DOMAIN})
        assert result.is_error
        text = result.content[0].text
        assert "/nowhere/engineer" in text
        assert "is stored and waits" in text
        assert "Nothing was stored" not in text
        assert (await bench.call("campaign_status"))["campaigns"][0]["unfinished"] == 1
