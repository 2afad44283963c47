"""Looking beyond one campaign: what is found elsewhere is marked, and only scores that compare are ranked together."""

import pytest

from .conftest import open_bench

pytestmark = pytest.mark.anyio


@pytest.fixture
async def neighbours(bench):
    """c1 and c2 in one program, c3 on its own, c4 in the program on another domain; each has a lesson about wombats."""
    campaigns = [
        await bench.campaign(program="marsupials"),
        await bench.campaign(program="marsupials"),
        await bench.campaign(),
        await bench.campaign(program="marsupials", domain="circle_packing"),
    ]
    for place, campaign in enumerate(campaigns[:3], start=1):
        node = await bench.node(campaign, 10.0 * place, motivation=f"Wombats number {place}.")
        await bench.call(
            "record_analysis", node=node, report=f"Wombats again {place}.", lessons=[f"Wombats dig {place}."]
        )
    item = {"title": "Wombats pack circles", "body": "They do.", "source": "s"}
    await bench.call("add_cognition", campaign=campaigns[3], items=[item])
    return campaigns


async def lessons_seen(bench, **arguments):
    found = await bench.call("search_cognition", campaign="c1", query="wombats dig", **arguments)
    return {lesson["text"]: lesson.get("campaign") for lesson in found.get("lessons", [])}


async def test_lessons_of_other_campaigns_are_found_by_scope_and_marked(bench, neighbours):
    assert await lessons_seen(bench) == {"Wombats dig 1.": None}
    assert await lessons_seen(bench, scope="program") == {"Wombats dig 1.": None, "Wombats dig 2.": "c2"}
    everywhere = {"Wombats dig 1.": None, "Wombats dig 2.": "c2", "Wombats dig 3.": "c3"}
    assert await lessons_seen(bench, scope="all") == everywhere


@pytest.mark.parametrize(
    ("scope", "domains"), [("campaign", []), ("program", ["circle_packing"]), ("all", ["circle_packing"])]
)
async def test_cognition_of_other_domains_is_found_by_scope_and_marked(bench, neighbours, scope, domains):
    found = await bench.call("search_cognition", campaign="c1", query="wombats pack circles", scope=scope)
    assert [item["domain"] for item in found["items"] if item["title"] == "Wombats pack circles"] == domains
    own = await bench.call("search_cognition", campaign="c1", query="larger number bound", scope=scope)
    assert "domain" not in own["items"][0]


async def test_a_sample_brings_lessons_of_its_program_and_of_no_other(bench, neighbours):
    sample = await bench.call("sample_nodes", campaign="c1")
    marks = {lesson["text"]: lesson.get("campaign") for lesson in sample["lessons"]}
    assert marks == {"Wombats dig 1.": None, "Wombats dig 2.": "c2"}
    assert "domain" not in str(sample["cognition"]), "other domains' cognition has to be asked for"
    alone = await bench.call("sample_nodes", campaign="c3")
    assert [lesson["text"] for lesson in alone["lessons"]] == ["Wombats dig 3."]


async def test_lessons_from_elsewhere_have_places_beside_many_of_the_nodes_own(bench, neighbours):
    own = [f"Wombats dig deeper, part {part}." for part in range(8)]
    await bench.call("record_analysis", node="n5", report="Wombats.", lessons=own)
    sample = await bench.call("sample_nodes", campaign="c1")
    assert [lesson.get("campaign") for lesson in sample["lessons"]] == [None, None, None, None, "c2"]


async def test_what_was_tried_elsewhere_is_found_and_marked(bench, neighbours):
    for scope, marks in (("campaign", [None]), ("program", [None, "c2"]), ("all", [None, "c2", "c3"])):
        found = await bench.call("search_nodes", campaign="c1", query="wombats", scope=scope, sort="oldest")
        assert [node.get("campaign") for node in found["nodes"]] == marks
        assert all(node["analysis"].startswith("Wombats again") for node in found["nodes"])


async def test_one_leaderboard_where_scores_compare(bench):
    for program in ("p", "p", None):
        await bench.campaign(**({"program": program} if program else {}))
    for campaign, value in (("c1", 2.0), ("c2", 5.0), ("c3", 9.0), ("c1", 3.0)):
        await bench.node(campaign, value)
    found = await bench.call("search_nodes", campaign="c1", scope="program")
    assert [(node["score"], node.get("campaign")) for node in found["nodes"]] == [
        (5.0, "c2"),
        (3.0, None),
        (2.0, None),
        (1.0, None),
        (1.0, "c2"),
    ]
    assert found["total"] == 5
    seen, offset = [], 0
    while offset is not None:
        page = await bench.call("search_nodes", campaign="c1", scope="all", limit=2, offset=offset)
        seen += [node["id"] for node in page["nodes"]]
        offset = page.get("next_offset")
    assert len(seen) == len(set(seen)) == 7
    assert seen[0] == "n6"
    newest = await bench.call("search_nodes", campaign="c1", scope="all", sort="newest")
    assert [node["id"] for node in newest["nodes"]] == [f"n{number}" for number in range(7, 0, -1)]


async def test_scores_that_do_not_compare_are_ranked_apart(bench, neighbours):
    found = await bench.call("search_nodes", campaign="c4", scope="program")
    assert [(group["domain"], group["campaigns"]) for group in found["groups"]] == [
        ("circle_packing", ["c4"]),
        ("number", ["c1", "c2"]),
    ]
    number = found["groups"][1]["nodes"]
    assert [(node["score"], node["campaign"], node["domain"]) for node in number][:2] == [
        (20.0, "c2", "number"),
        (10.0, "c1", "number"),
    ]
    assert "within a group only" in found["next"]
    assert "scope='campaign'" in await bench.refusal("search_nodes", campaign="c4", scope="program", offset=5)
    tried = await bench.call("search_nodes", campaign="c4", scope="program", sort="newest")
    assert tried["total"] == 5


async def test_instances_do_not_compare(bench):
    for instance in ("n26", "n32"):
        await bench.campaign(domain="circle_packing", instance=instance, program="p")
    found = await bench.call("search_nodes", campaign="c2", scope="program")
    assert [group["instance"] for group in found["groups"]] == ["n32", "n26"]
    text = await bench.refusal(
        "search_nodes", campaign="c1", scope="program", query="program search starts", sort="best"
    )
    assert "do not compare" in text


async def test_a_program_that_is_not_there_is_said_and_can_be_given(bench, campaign):
    for tool, more in (("search_nodes", {}), ("search_cognition", {"query": "number"})):
        text = await bench.refusal(tool, campaign=campaign, scope="program", **more)
        assert "update_campaign(campaign='c1', program=...)" in text
    other = await bench.campaign(program="p")
    node = await bench.node(other, 2.0)
    await bench.call("record_analysis", node=node, report="r", lessons=["Numbers can be larger."])
    changed = await bench.call("update_campaign", campaign=campaign, program=" p ")
    assert changed["program"] == "p"
    found = await bench.call("search_cognition", campaign=campaign, query="larger numbers", scope="program")
    assert found["lessons"][0]["campaign"] == "c2"
    listed = (await bench.call("campaign_status"))["campaigns"]
    assert [line["program"] for line in listed] == ["p", "p"]
    assert "program" not in await bench.call("update_campaign", campaign=campaign, program="")
    assert "program" not in await bench.call("campaign_status", campaign=campaign)


async def test_scopes_that_are_none_are_refused(bench, campaign):
    assert "scope" in await bench.refusal("search_nodes", campaign=campaign, scope="moon")


async def test_another_process_sees_the_program_that_one_gave(tmp_path):
    async with open_bench(tmp_path) as first, open_bench(tmp_path) as second:
        await first.campaign(program="p")
        assert (await second.call("campaign_status", campaign="c1"))["program"] == "p"


async def test_nodes_and_lessons_of_other_campaigns_can_be_cited(bench, neighbours):
    node = await bench.node("c1", 40.0, inspired_by=["n4", "l2"], parents=["n1"])
    assert (await bench.call("get_node", node=node))["inspired_by"] == ["l2", "n4"]
    status = await bench.call("campaign_status", campaign="c1", detail="full")
    assert status["provenance"]["all"]["experience"] == 1
