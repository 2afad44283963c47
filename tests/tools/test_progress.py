"""How far experiments are, as an agent sees it: in the wait, in the status, and in a few rows of a node."""

import json
import time

import pytest
from asi_evolve.database import progress
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.evolution.progress import MAX_FIELDS, MAX_POINTS, Point, Progress

from .conftest import running

pytestmark = pytest.mark.anyio

HERE = Point(7.0, 680.0, 0.34, {"loss": 1.9312345, "rate": 0.001})


@pytest.fixture
def hear(monkeypatch):
    """A callback for progress, which comes often, and what it heard."""
    monkeypatch.setattr("asi_evolve.tools.experiments.PROGRESS_EVERY_S", 0.1)
    said = []

    async def call(part, total, message):
        said.append((part, total, message))

    call.said = said
    return call


async def test_waiting_tells_how_far_the_run_is_and_what_it_measured(bench, campaign, hear):
    await bench.queue(campaign, 2.0)
    await running(await bench.workspace(), 2, HERE)
    await bench.client.call_tool("wait_experiment", {"experiments": ["e2"], "wait_s": 0.5}, progress_callback=hear)
    assert {message for _, _, message in hear.said} == {"e2 explore 34 %, step 680, loss 1.931, rate 0.001"}
    assert all(total == 1 for _, total, _ in hear.said)
    parts = [part for part, _, _ in hear.said]
    assert parts == sorted(set(parts))
    assert parts[0] == 0.34
    assert parts[-1] < 0.35


async def test_several_experiments_make_one_measure_of_what_is_done(bench, campaign, hear):
    for value in (2.0, 3.0, 4.0):
        await bench.queue(campaign, value, seeds=2)
    workspace = await bench.workspace()
    await bench.settle("e2", score=2.0)
    await running(workspace, 3, HERE)
    handles = ["e2", "e3", "e4"]
    await bench.client.call_tool("wait_experiment", {"experiments": handles, "wait_s": 0.3}, progress_callback=hear)
    part, total, message = hear.said[0]
    assert (part, total) == (pytest.approx(1 + 0.34 / 2), 3)
    assert message == "e2 finished; e3 explore 34 %, step 680, loss 1.931, rate 0.001; e4 queued"


async def test_the_status_shows_where_what_runs_is_and_for_how_long_it_has_been_silent(bench, campaign):
    workspace = await bench.workspace()
    await bench.queue(campaign, 2.0)
    job = await running(workspace, 2, HERE)
    status = await bench.call("campaign_status", campaign=campaign)
    assert [entry["progress"] for entry in status["unfinished"]] == ["seed 0: 34 %, step 680, loss 1.931, rate 0.001"]
    looked = await bench.call("wait_experiment", experiments=["e2"], wait_s=0)
    assert looked["progress"] == status["unfinished"][0]["progress"]
    async with workspace.transaction() as tx:
        await progress.note(tx, {job.id: Point(8.0, None, None, {"loss": 2.0}, ("grad",))})
        then = time.time() - 100
        await tx.execute("UPDATE jobs SET progress_json = json_set(progress_json, '$.told_at', ?)", (then,))
    status = await bench.call("campaign_status", campaign=campaign)
    assert status["unfinished"][0]["progress"].startswith("seed 0: grad not finite, loss 2 (told 10")


async def test_an_experiment_that_tells_nothing_looks_as_before(bench, campaign):
    await bench.queue(campaign, 2.0)
    await running(await bench.workspace(), 2)
    status = await bench.call("campaign_status", campaign=campaign)
    assert status["unfinished"] == [{"experiment": "e2", "node": "n2", "status": "running", "stage": "explore"}]


async def test_a_node_shows_a_few_rows_of_its_latest_run(bench, campaign):
    points = tuple(Point(n / 9, float(n), n / 299, {"loss": 10 / (n + 1)}) for n in range(300))
    node = await bench.node(campaign, 2.0, told={"progress": Progress(points, 300, 4, 0, ("Rule x.",))})
    shown = (await bench.call("get_node", node=node))["progress"]
    assert shown == {
        "lines": 300,
        "broken_lines": 4,
        "columns": ["percent", "loss"],
        "rows": shown["rows"],
        "notes": ["Rule x."],
        "all": "evolve://experiments/e2/progress",
    }
    assert len(shown["rows"]) == 8
    assert (shown["rows"][0], shown["rows"][-1]) == ([0.0, 10.0], [100.0, 0.03333])
    assert "progress" not in await bench.call("get_node", node="n1")


async def test_the_largest_series_costs_an_agent_little(bench, campaign):
    values = {f"{'m' * 38}{place:02d}": 1 / 3 + place for place in range(MAX_FIELDS)}
    points = tuple(Point(n / 7, None, None, values, ("x" * 40,)) for n in range(MAX_POINTS))
    notes = ("A rule was not applied. " * 30,) * 20
    told = {"progress": Progress(points, 10**9, 10**9, 10**9, notes)}
    node = await bench.node(campaign, 2.0, told=told)
    shown = (await bench.call("get_node", node=node))["progress"]
    assert len(json.dumps(shown)) < 1500


async def test_the_longest_lines_leave_the_status_and_the_wait_small(bench, campaign):
    values = {f"{'m' * 38}{place:02d}": -1 / 3e300 for place in range(MAX_FIELDS)}
    broken = tuple(f"{'x' * 38}{place:02d}" for place in range(MAX_FIELDS))
    handles = [(await bench.queue(campaign, 2.0 + place))["experiment"] for place in range(20)]
    for handle in handles:
        await running(await bench.workspace(), int(handle[1:]), Point(1e9, 1e300, 1.0, values, broken))
    assert len(await bench.text("campaign_status", campaign=campaign)) < 6000
    assert len(await bench.text("wait_experiment", experiments=handles, wait_s=0)) < 10_000


async def test_a_score_of_a_run_that_was_stopped_says_so(bench, campaign):
    why = "Stopped early at 50 %: loss 9 is above 5."
    node = await bench.node(campaign, 2.0, told={"environment": {"stopped_early": why}})
    assert (await bench.call("wait_experiment", experiments=["e2"]))["runs"][0]["stopped_early"] == why
    assert (await bench.call("get_node", node=node))["runs"][0]["stopped_early"] == why


async def test_a_rejected_run_tells_its_reason_and_keeps_what_it_told(bench, campaign):
    reason = "Stopped early at 3 % (step 3): loss is not finite."
    told = {"reason": reason, "progress": Progress((Point(0.1, 3.0, 0.03, {}, ("loss",)),), 1)}
    node = await bench.node(campaign, 2.0, Outcome.REJECTED, told)
    assert (await bench.call("wait_experiment", experiments=["e2"]))["reason"] == reason
    assert (await bench.call("get_node", node=node))["progress"]["rows"] == [[3.0, "not finite"]]
