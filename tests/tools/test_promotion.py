"""A lesson becomes cognition: once, with its source, and both say so."""

import pytest
from asi_evolve.tools.promotion import title_of

pytestmark = pytest.mark.anyio

TEXT = "Constants near the bound win. Start from 99 and go up; version 1.5 did."


@pytest.fixture
async def lesson(bench, campaign):
    """Lesson l1 of n2."""
    node = await bench.node(campaign, 2.0)
    recorded = await bench.call("record_analysis", node=node, report="r", lessons=[TEXT], tags=["size", "bound"])
    return recorded["lessons"][0]


async def test_a_lesson_becomes_an_item_with_its_source(bench, campaign, lesson):
    added = await bench.call("add_cognition", campaign=campaign, lessons=[lesson])
    assert (added["added"], added["total"]) == (["k3"], 3)
    found = await bench.call("search_cognition", campaign=campaign, query="constants start from 99")
    assert found["items"][0] == {
        "id": "k3",
        "title": "Constants near the bound win.",
        "body": TEXT,
        "source": "lesson l1 of n2, campaign c1",
        "tags": ["size", "bound"],
        "origin": "lesson",
    }


async def test_the_lesson_names_its_item_wherever_it_is_shown(bench, campaign, lesson):
    before = await bench.call("get_node", node="n2")
    assert "cognition" not in before["lessons"][0]
    await bench.call("add_cognition", campaign=campaign, lessons=[lesson])
    shown = [
        (await bench.call("get_node", node="n2"))["lessons"][0],
        (await bench.call("campaign_status", campaign=campaign))["lessons"][0],
    ]
    assert [(entry["id"], entry["cognition"]) for entry in shown] == [("l1", "k3")] * 2


async def test_a_search_does_not_say_a_lesson_again_beside_the_item_that_it_became(bench, campaign, lesson):
    question = {"campaign": campaign, "query": "constants"}
    assert [entry["id"] for entry in (await bench.call("search_cognition", **question))["lessons"]] == ["l1"]
    await bench.call("add_cognition", campaign=campaign, lessons=[lesson])
    found = await bench.call("search_cognition", **question)
    assert found["items"][0]["source"] == "lesson l1 of n2, campaign c1"
    assert "lessons" not in found
    sample = await bench.call("sample_nodes", campaign=campaign)
    assert "k3" in [item["id"] for item in sample["cognition"]]
    assert "lessons" not in sample


async def test_a_lesson_is_promoted_once(bench, campaign, lesson):
    await bench.call("add_cognition", campaign=campaign, lessons=[lesson])
    again = await bench.call("add_cognition", campaign=campaign, lessons=[lesson, lesson])
    assert (again["added"], again["known_already"], again["total"]) == ([], ["k3"], 3)


async def test_a_lesson_goes_to_another_domain_or_to_every_one(bench, campaign, lesson):
    other = await bench.campaign(domain="circle_packing")
    await bench.call("add_cognition", campaign=other, lessons=[lesson], every_domain=True)
    for place in (campaign, other):
        found = await bench.call("search_cognition", campaign=place, query="constants near the bound win start 99")
        assert "k" in found["items"][0]["id"]
        assert any(item["source"].startswith("lesson l1") for item in found["items"])


async def test_items_and_lessons_are_stored_together_or_not_at_all(bench, campaign, lesson):
    item = {"title": "t", "body": "b", "source": "s"}
    text = await bench.refusal("add_cognition", campaign=campaign, items=[item], lessons=[lesson, "l9"])
    assert "no l9" in text
    assert "1 to 50" in await bench.refusal("add_cognition", campaign=campaign)
    assert "id of a lesson" in await bench.refusal("add_cognition", campaign=campaign, lessons=["n2"])
    added = await bench.call("add_cognition", campaign=campaign, items=[item], lessons=[lesson])
    assert added["added"] == ["k3", "k4"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("One. Two.", "One."),
        ("Version 1.5 is\nfaster! Really", "Version 1.5 is faster!"),
        ("no end", "no end"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_the_title_is_the_first_sentence(text, title):
    assert title_of(text) == title
