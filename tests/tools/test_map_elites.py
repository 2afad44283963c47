"""Campaigns that draw from a MAP-Elites archive, and those that exchange elites, as an agent sees them."""

import pytest
from asi_evolve.database import experiments, nodes
from asi_evolve.database.map_elites import view as archive_view
from asi_evolve.evolution.models import FormerScore, Quarantine
from asi_evolve.evolution.outcomes import Outcome

from .conftest import open_bench, program

pytestmark = pytest.mark.anyio
SMALL = {"islands": 2, "bins": 4, "migration_every": 2, "migration_rate": 0.5}


async def rounds(bench, campaign, count, first=2):
    """Draw, and score a child of what was drawn; the parents' ids."""
    parents = []
    for place in range(count):
        sample = await bench.call("sample_nodes", campaign=campaign)
        parents.append(sample["parent"]["id"])
        # Programs of different lengths, so that they fall into different cells.
        value = first + place * 7 % 5 + place / 100
        code = program(value, "# a line\n" * (place * 3 % 11))
        queued = await bench.queue(campaign, value, code=code, parents=parents[-1:])
        await bench.settle(queued["experiment"], score=value)
    return parents


async def test_a_sample_says_island_and_cell_and_the_status_how_full_the_archive_is(bench):
    campaign = await bench.campaign(sampler="map_elites", options={"sampling": SMALL})
    parent = (await bench.call("sample_nodes", campaign=campaign))["parent"]
    assert (parent["id"], parent["island"], parent["cell"]) == ("n1", 0, [0, 0])
    assert parent["why"].startswith("map_elites: island 0, ")
    await rounds(bench, campaign, 8)
    await bench.call("sample_nodes", campaign=campaign)
    assert "archive" not in await bench.call("campaign_status", campaign=campaign)
    archive = (await bench.call("campaign_status", campaign=campaign, detail="full"))["archive"]
    assert [island["island"] for island in archive["islands"]] == [0, 1]
    assert sum(island["nodes"] - island.get("immigrants", 0) for island in archive["islands"]) == 9
    assert sum(island.get("immigrants", 0) for island in archive["islands"]) > 0
    assert archive["bins"] == 4
    assert archive["coverage"] == archive["filled_cells"] / 16
    assert 2 <= archive["filled_cells"] <= 9
    low, high = archive["measures"]["complexity"]
    assert low <= len(program(1.0)) < high
    assert archive["qd_score_offset"] == 1.0
    best = await archive_view.best_of_cells((await bench.workspace()).read, 1)
    assert archive["qd_score"] == pytest.approx(sum(score - 1.0 for score in best))
    assert "waiting" not in archive


async def test_draws_and_migrations_come_again_with_the_same_seed_and_the_same_order_of_events(tmp_path):
    seen = []
    for place in range(2):
        async with open_bench(tmp_path / str(place)) as bench:
            campaign = await bench.campaign(sampler="map_elites", seed=7, options={"sampling": SMALL})
            parents = await rounds(bench, campaign, 14)
            moved = await (await bench.workspace()).read.all(
                "SELECT subject, data_json FROM events WHERE kind = 'elites_migrated' ORDER BY id"
            )
            seen.append((parents, [tuple(row) for row in moved]))
    assert seen[0] == seen[1]
    assert len(set(seen[0][0])) > 2
    assert seen[0][1], "nobody has migrated"


async def test_a_campaign_can_turn_to_map_elites_and_back_and_loses_nothing(bench, campaign):
    await rounds(bench, campaign, 4)
    await bench.call("update_campaign", campaign=campaign, sampler="map_elites", options={"sampling": SMALL})
    await rounds(bench, campaign, 2, first=10)
    reader = (await bench.workspace()).read
    await bench.call("sample_nodes", campaign=campaign)
    assert await reader.value("SELECT count(*) FROM islanders WHERE is_home AND score IS NOT NULL") == 7
    await bench.call("update_campaign", campaign=campaign, sampler="greedy")
    await rounds(bench, campaign, 2, first=20)
    assert "archive" not in await bench.call("campaign_status", campaign=campaign, detail="full")
    await bench.call("update_campaign", campaign=campaign, sampler="map_elites")
    await bench.call("sample_nodes", campaign=campaign)
    assert await reader.value("SELECT count(*) FROM islanders WHERE is_home AND score IS NOT NULL") == 9


async def test_a_node_in_quarantine_gives_up_its_cell_and_gets_it_back_when_it_is_released(bench):
    campaign = await bench.campaign(sampler="map_elites", options={"sampling": SMALL | {"islands": 1}})
    await bench.call("sample_nodes", campaign=campaign)
    await bench.node(campaign, 5.0, parents=["n1"])
    await bench.call("sample_nodes", campaign=campaign)
    workspace = await bench.workspace()

    async def elites():
        return {row["node_id"] for row in await workspace.read.all("SELECT node_id FROM cells")}

    assert 2 in await elites()
    former = FormerScore(value=5.0, stderr=None, seeds=1, stage="explore")
    held = Quarantine(
        cause="outlier", reason="", stage="explore", score=9.0, bound=None, median=1.0, seeds=(9,), former=former
    )
    async with workspace.transaction() as tx:
        number = await experiments.enqueue(tx, campaign_id=1, node_id=2, stage="explore", seeds=[0])
        await experiments.start(tx, number)
        await experiments.hold(tx, number, held)
    assert 2 not in await elites()
    async with workspace.transaction() as tx:
        await experiments.finish(tx, number, Outcome.LOST, "", None)
    assert (await nodes.get(workspace.read, 2)).score == 5.0
    assert 2 in await elites()


async def exchanging(bench, **more):
    options = {"sampling": SMALL | {"exchange": True}}
    given = {"program": "numbers", "sampler": "map_elites", "options": options} | more
    return await bench.campaign(**given)


async def test_elites_of_one_campaign_come_into_the_next_and_can_be_built_on_there(bench):
    first, second = await exchanging(bench), await exchanging(bench, score=2.0)
    apart = await exchanging(bench, program="other numbers")
    for campaign in (first, second, apart):
        await bench.call("sample_nodes", campaign=campaign)
    await rounds(bench, first, 12)
    reader = (await bench.workspace()).read
    for campaign in (first, second, apart):
        await bench.call("sample_nodes", campaign=campaign)
    foreign = {
        (row["host"], row["origin"])
        for row in await reader.all(
            "SELECT i.campaign_id AS host, n.campaign_id AS origin FROM islanders AS i JOIN nodes AS n"
            " ON n.id = i.node_id WHERE n.campaign_id <> i.campaign_id"
        )
    }
    assert foreign == {(2, 1)}, "only the next of the same program"
    visits = {row["id"]: row["visits"] for row in await reader.all("SELECT id, visits FROM nodes")}
    sample = None
    for _ in range(40):
        sample = await bench.call("sample_nodes", campaign=second)
        if sample["parent"].get("campaign"):
            break
    parent = sample["parent"]
    assert parent["campaign"] == first
    own = await reader.value("SELECT campaign_id FROM nodes WHERE id = ?", (int(parent["id"][1:]),))
    assert own == 1
    number = int(parent["id"][1:])
    assert (await nodes.get(reader, number)).visits == visits[number], "the draw counts in the campaign that drew"
    drawn = await reader.value("SELECT samples_drawn FROM campaigns WHERE id = 2")
    natives = await reader.value("SELECT sum(visits) FROM nodes WHERE campaign_id = 2")
    strangers = await reader.value(
        "SELECT count(*) FROM draws AS d JOIN nodes AS n ON n.id = d.node_id WHERE d.campaign_id = 2"
        " AND n.campaign_id = 1"
    )
    assert natives + strangers == drawn
    child = await bench.node(second, 9.0, parents=[parent["id"]])
    await bench.call("sample_nodes", campaign=second)
    assert (await archive_view.place_of(reader, 2, int(child[1:]))).is_home
    refused = await bench.refusal(
        "run_experiment", campaign=apart, name="n", motivation="m", code=program(3.5), parents=[parent["id"]]
    )
    assert "Name it in inspired_by instead" in refused


async def test_without_the_option_nobody_crosses_over(bench):
    first = await exchanging(bench)
    second = await exchanging(bench, options={"sampling": SMALL})
    for campaign in (first, second):
        await bench.call("sample_nodes", campaign=campaign)
    await rounds(bench, first, 8)
    await rounds(bench, second, 8, first=50)
    rows = await (await bench.workspace()).read.all(
        "SELECT 1 FROM islanders AS i JOIN nodes AS n ON n.id = i.node_id WHERE n.campaign_id <> i.campaign_id"
    )
    assert rows == []
