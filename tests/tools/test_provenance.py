"""Where designs come from and what knowledge was worth, as an agent and a person read it."""

import json

import pytest
from asi_evolve.evolution.outcomes import Outcome

from .conftest import open_bench

pytestmark = pytest.mark.anyio


async def provenance(bench, campaign="c1"):
    (content,) = (await bench.client.read_resource(f"evolve://campaigns/{campaign}/provenance")).contents
    assert content.mime_type == "application/json"
    return json.loads(content.text)


async def test_a_campaign_without_candidates_says_nothing(bench, campaign):
    assert "provenance" not in await bench.call("campaign_status", campaign=campaign, detail="full")
    whole = await provenance(bench)
    assert (whole["all"]["candidates"], whole["items"]) == (0, [])
    assert "inspired_by" in whole["how_counted"]


async def test_candidates_are_counted_by_what_they_name(bench, campaign):
    first = await bench.node(campaign, 2.0, parents=["n1"], inspired_by=["k1"])
    await bench.call("record_analysis", node=first, report="r", lessons=["Larger."])
    await bench.node(campaign, 3.0, parents=[first], inspired_by=[first, "k1"])
    await bench.node(campaign, 4.0, parents=[first], inspired_by=["l1"])
    await bench.node(campaign, 5.0, parents=[first], inspired_by=["k2", "n3"])
    await bench.node(campaign, 6.0, Outcome.LIMIT, parents=["n1"])
    await bench.node(campaign, 7.0, parents=["n1"], inspired_by=["n1"])
    status = await bench.call("campaign_status", campaign=campaign, detail="full")
    assert status["provenance"]["all"] == {
        "candidates": 6,
        "cognition": 2,
        "experience": 1,
        "both": 1,
        "neither": 2,
        "shares_percent": {"cognition": 41.7, "experience": 25.0, "new": 33.3},
    }
    assert status["provenance"]["best"]["candidates"] == 5, "the baseline is no candidate, a failure not among the best"
    assert status["provenance"]["whole"] == "evolve://campaigns/c1/provenance"
    assert "provenance" not in await bench.call("campaign_status", campaign=campaign)


async def test_a_promoted_lesson_counts_as_experience(bench, campaign):
    first = await bench.node(campaign, 2.0)
    await bench.call("record_analysis", node=first, report="r", lessons=["Larger."])
    await bench.call("add_cognition", campaign=campaign, lessons=["l1"])
    await bench.node(campaign, 3.0, parents=[first], inspired_by=["k3"])
    counts = (await provenance(bench))["all"]
    assert (counts["cognition"], counts["experience"], counts["neither"]) == (0, 1, 1)


async def test_an_item_tells_how_often_it_was_shown_named_and_what_its_users_gained(bench, campaign):
    await bench.node(campaign, 3.0, parents=["n1"], inspired_by=["k1"])
    await bench.node(campaign, 6.0, parents=["n1"], inspired_by=["k1", "k2"])
    await bench.node(campaign, 7.0, Outcome.CANDIDATE_ERROR, parents=["n1"], inspired_by=["k1"])
    await bench.node(campaign, 8.0, inspired_by=["k1"])
    await bench.call("search_cognition", campaign=campaign, query="larger number bound")
    await bench.call("search_cognition", campaign=campaign, query="strict refused", top_k=1)
    whole = await provenance(bench)
    first, second = whole["items"]
    assert first == {
        "id": "k1",
        "title": "Larger numbers score more",
        "retrieved": 1,
        "used": 4,
        "failed": 1,
        "compared": 2,
        "mean_gain": 3.5,
        "standard_error": 1.5,
    }
    assert (second["retrieved"], second["used"], second["compared"], second["mean_gain"]) == (2, 1, 1, 5.0)
    assert "standard_error" not in second
    assert [item["id"] for item in whole["helped_most"]] == ["k1"], "one user says nothing"


async def test_samples_count_what_they_show_and_idle_items_are_named(bench, campaign):
    await bench.node(campaign, 2.0, motivation="Go near the bound of 100, invalid output or not; larger numbers.")
    shown = [(await bench.call("sample_nodes", campaign=campaign)).get("cognition", []) for _ in range(4)]
    expected = {}
    for items in shown:
        for item in items:
            expected[item["id"]] = expected.get(item["id"], 0) + 1
    assert max(expected.values()) >= 3
    whole = await provenance(bench)
    assert {item["id"]: item["retrieved"] for item in whole["items"]} == expected
    assert [item["id"] for item in whole["never_used"]] == sorted(
        (number for number, count in expected.items() if count >= 3), key=lambda number: (-expected[number], number)
    )


async def test_scores_of_different_stages_are_not_compared(bench, campaign):
    node = await bench.node(campaign, 3.0, parents=["n1"], inspired_by=["k1"])
    promoted = await bench.call("promote_node", node=node, stage="verify", wait_s=0)
    await bench.settle(promoted["experiment"], score=50.0)
    (item,) = (await provenance(bench))["items"]
    assert item["used"] == 1
    assert "mean_gain" not in item


async def test_a_search_answers_where_its_retrievals_cannot_be_counted(tmp_path):
    async with open_bench(tmp_path) as bench:
        await bench.campaign()
        database = (await bench.workspace()).database
        other = database.driver.connect(database.path)
        other.execute("DROP TABLE retrievals")
        other.close()
        found = await bench.call("search_cognition", campaign="c1", query="larger number")
        assert found["items"]
