"""What a campaign that switches a memory off lets be seen: nothing of it, wherever one looks, and nothing is lost."""

import json
from pathlib import Path

import pytest
from asi_evolve.database.experiments import StoredFile
from asi_evolve.evolution.outcomes import Outcome

from .conftest import NUMBER_DOMAIN, open_bench, program

pytestmark = pytest.mark.anyio

# Words that no tool says of itself, one for each kind of text.
ITEM, PROMOTED, LESSON, ANALYSIS, SHARED = "quokkaitem", "wombatlesson", "numbatlesson", "dingoanalysis", "emulesson"
OF_COGNITION = {ITEM, PROMOTED}
OF_LESSONS = {PROMOTED, LESSON, ANALYSIS, SHARED}
QUERY = " ".join(("number", ITEM, PROMOTED, LESSON, ANALYSIS, SHARED))


async def marked_campaign(bench, **options):
    """A campaign whose every memory holds a marked text, in a program with another one that has a lesson too."""
    neighbour = await bench.campaign(program="numbers")
    other = await bench.node(neighbour, 3.0)
    await bench.call("record_analysis", node=other, report="Nothing.", lessons=[f"The number grows: {SHARED}."])
    campaign = await bench.campaign(program="numbers", options=options)
    item = {"title": f"Number {ITEM}", "body": f"Body {ITEM}", "source": "s", "symptom": ITEM, "tags": ["size"]}
    await bench.call("add_cognition", campaign=campaign, items=[item])
    left = StoredFile("a.txt", "text/plain", (await bench.workspace()).artifacts.put(b"left"), 4)
    node = await bench.node(campaign, 2.0, told={"artifacts": [left]}, parents=["n3"], inspired_by=["k1", "k3"])
    lessons = [f"A number {LESSON}.", f"Number {PROMOTED}."]
    recorded = await bench.call(
        "record_analysis", node=node, report=f"Number {ANALYSIS}.", lessons=lessons, tags=["size"]
    )
    await bench.call("add_cognition", campaign=campaign, lessons=[recorded["lessons"][1]])
    await bench.node(campaign, 4.0, Outcome.CANDIDATE_ERROR, parents=[node], inspired_by=["k4", "l2"])
    return campaign, node


def calls(campaign, node):
    """Every tool that answers something of a campaign, in every way that shows more or less."""
    return [
        ("campaign_status", {}),
        *(("campaign_status", {"campaign": campaign, "detail": detail}) for detail in ("concise", "full")),
        *(("sample_nodes", {"campaign": campaign, "detail": detail}) for detail in ("concise", "full", "full")),
        *(
            (
                "search_cognition",
                {"campaign": campaign, "query": QUERY, "nodes": nodes, "scope": scope, "detail": "full"},
            )
            for scope in ("campaign", "program", "all")
            for nodes in ([], [node, "n2"])
        ),
        ("search_cognition", {"campaign": campaign, "query": QUERY, "tags": ["size"]}),
        *(
            ("search_nodes", {"campaign": campaign, "scope": scope, "query": query})
            for scope in ("campaign", "program", "all")
            for query in ("", QUERY)
        ),
        *(("get_node", {"node": node, "part": part}) for part in ("summary", "code")),
        ("compare_nodes", {"a": "n3", "b": node}),
        ("add_cognition", {"campaign": campaign, "lessons": ["l3"]}),
        ("record_analysis", {"node": node, "report": f"Number {ANALYSIS}."}),
        ("update_campaign", {"campaign": campaign, "seeds": 1}),
        ("wait_experiment", {"experiments": ["e4", "e5"], "wait_s": 0}),
        ("wait_experiment", {"experiments": ["e4"], "wait_s": 0}),
        ("list_domains", {}),
        ("start_campaign", {"domain": "circle_packing"}),
        ("promote_node", {"node": node, "wait_s": 0}),
        ("cancel_experiment", {"experiment": "e5"}),
    ]


async def everything_seen(bench, campaign, node):
    """Where a text was seen to the text: every tool, every resource of the campaign and a refused duplicate."""
    seen = {}
    for place, (tool, arguments) in enumerate(calls(campaign, node)):
        seen[f"{place} {tool} {arguments}"] = await bench.text(tool, **arguments)
    twin = {"campaign": campaign, "name": "twin", "motivation": "m", "code": program(2.0), "wait_s": 0}
    for tool, arguments in (("run_experiment", twin), ("record_judgement", {"node": node, "marks": {"clarity": 1}})):
        refused = await bench.client.call_tool(tool, arguments)
        assert refused.is_error
        seen[f"refused {tool}"] = refused.content[0].text
    seen["a candidate"] = json.dumps(await bench.queue(campaign, 9.0, parents=[node]))
    for template, address in addresses(campaign, node).items():
        seen[template] = await resource(bench, address)
    return seen


def addresses(campaign, node):
    """Every kind of resource to one of this campaign's."""
    return {
        "evolve://campaigns": "evolve://campaigns",
        "evolve://campaigns/{id}": f"evolve://campaigns/{campaign}",
        "evolve://campaigns/{id}/provenance": f"evolve://campaigns/{campaign}/provenance",
        "evolve://nodes/{id}": f"evolve://nodes/{node}",
        "evolve://nodes/{id}/files/{+path}": f"evolve://nodes/{node}/files/number.py",
        "evolve://nodes/{id}/artifacts/{+name}": f"evolve://nodes/{node}/artifacts/a.txt",
        "evolve://experiments/{id}/log": "evolve://experiments/e4/log",
        "evolve://experiments/{id}/progress": "evolve://experiments/e4/progress",
        "evolve://domains/{name}": "evolve://domains/circle_packing",
    }


async def resource(bench, address):
    (content,) = (await bench.client.read_resource(address, cache_mode="bypass")).contents
    return content.text


def found_in(seen, words):
    return {word: [place for place, text in seen.items() if word in text] for word in sorted(words)}


async def test_the_walk_leaves_no_tool_and_no_resource_out(bench):
    tools = {tool.name for tool in (await bench.client.list_tools()).tools}
    assert tools == {"run_experiment", "record_judgement", *(tool for tool, _ in calls("c1", "n1"))}
    fixed = {str(entry.uri) for entry in (await bench.client.list_resources()).resources}
    templates = {entry.uri_template for entry in (await bench.client.list_resource_templates()).resource_templates}
    assert fixed | templates == addresses("c1", "n1").keys()


async def test_with_both_on_every_text_is_seen_in_several_places(bench):
    seen = await everything_seen(bench, *await marked_campaign(bench))
    counts = {word: len(places) for word, places in found_in(seen, OF_COGNITION | OF_LESSONS).items()}
    assert {word: count for word, count in counts.items() if count < 3} == {}, "else a walk proves nothing"
    assert "switched off" not in "".join(seen.values())


@pytest.mark.parametrize(
    ("options", "hidden", "said"),
    [
        ({"cognition": False}, OF_COGNITION, "options.cognition=false"),
        ({"lessons": False}, OF_LESSONS, "options.lessons=false"),
        ({"cognition": False, "lessons": False}, OF_COGNITION | OF_LESSONS, "options.cognition=false"),
    ],
)
async def test_what_is_switched_off_is_seen_nowhere(bench, options, hidden, said):
    campaign, node = await marked_campaign(bench, **options)
    seen = await everything_seen(bench, campaign, node)
    lessons_are_cognition = {PROMOTED} if options == {"cognition": False} else set()
    for word, places in found_in(seen, hidden - lessons_are_cognition).items():
        assert places == [], word
    still = found_in(seen, (OF_COGNITION | OF_LESSONS) - hidden)
    assert {word: places for word, places in still.items() if not places} == {}, "the other memory is as before"
    for tool in ("search_cognition", "sample_nodes", "get_node", "campaign_status"):
        told = [text for place, text in seen.items() if f" {tool} {{'" in place and "'code'" not in place]
        assert told, tool
        assert all(said in text for text in told), tool


async def test_a_promoted_lesson_is_no_item_where_cognition_is_off(bench):
    campaign, _ = await marked_campaign(bench, cognition=False)
    found = await bench.call("search_cognition", campaign=campaign, query=QUERY, scope="all")
    assert found["items"] == []
    assert any(PROMOTED in lesson["text"] for lesson in found["lessons"])
    assert all("cognition" not in lesson for lesson in found["lessons"])
    whole = json.loads(await resource(bench, f"evolve://campaigns/{campaign}/provenance"))
    assert whole["items"] == []
    counts = (whole["all"]["cognition"], whole["all"]["experience"])
    assert counts == (1, 1), "what candidates name counts, whether it was shown or not"


async def test_without_both_memories_nothing_is_searched_and_the_answer_leads_elsewhere(bench):
    campaign, node = await marked_campaign(bench, cognition=False, lessons=False)
    found = await bench.call("search_cognition", campaign=campaign, query=QUERY, nodes=[node])
    assert (found["items"], found["method"]) == ([], "none: both memories are switched off")
    assert "search_nodes" in found["next"] and "threshold" not in found["next"]
    sample = await bench.call("sample_nodes", campaign=campaign)
    assert sample["cognition_method"] == "none: both memories are switched off"


async def test_lessons_off_stores_what_is_recorded_and_shows_it_when_they_are_on_again(bench):
    campaign = await bench.campaign(options={"lessons": False})
    node = await bench.node(campaign, 2.0)
    recorded = await bench.call("record_analysis", node=node, report=ANALYSIS, lessons=[LESSON])
    assert recorded["lessons"] == ["l1"]
    assert "options.lessons=false" in recorded["notice"]
    assert "analysis" not in await bench.call("get_node", node=node)
    await bench.call("update_campaign", campaign=campaign, options={"lessons": True})
    shown = await bench.call("get_node", node=node)
    assert (shown["analysis"], shown["lessons"][0]["text"]) == (ANALYSIS, LESSON)
    assert "notice" not in shown


async def test_lessons_off_asks_for_no_analysis(bench):
    campaign = await bench.campaign(options={"lessons": False})
    queued = await bench.queue(campaign, 2.0)
    await bench.settle(queued["experiment"], score=2.0)
    told = await bench.call("wait_experiment", experiments=[queued["experiment"]], wait_s=0)
    status = await bench.call("campaign_status", campaign=campaign)
    assert "record_analysis" not in told["next"] + status["next"]
    assert "needs_analysis" not in status
    assert "sample_nodes" in told["next"]


SAYS_THE_SAME = (
    "Larger numbers score more under the bound, since the metric is monotone in the value that a candidate returns."
)


async def promoted(bench, campaign, *lessons):
    """Lessons of one node that are items now."""
    node = await bench.node(campaign, 2.0)
    await bench.call("record_analysis", node=node, report="r", lessons=lessons)
    return await bench.call("add_cognition", campaign=campaign, lessons=[f"l{n + 1}" for n in range(len(lessons))])


async def test_lessons_off_shows_what_the_agent_adds_though_a_lesson_says_the_same(bench):
    campaign = await bench.campaign(options={"lessons": False})
    await promoted(bench, campaign, f"{SAYS_THE_SAME} {LESSON}.")
    item = {"title": "Larger numbers score more", "body": SAYS_THE_SAME, "source": "arxiv:2406.06484"}
    added = await bench.text("add_cognition", campaign=campaign, items=[item])
    assert json.loads(added)["added"] == ["k4"]
    assert LESSON not in added and "k3" not in added
    found = await bench.call("search_cognition", campaign=campaign, query="metric monotone value candidate")
    assert ("k4", "agent") in {(entry["id"], entry["origin"]) for entry in found["items"]}


async def test_nothing_is_merged_into_an_item_that_was_a_lesson(bench, campaign):
    await promoted(bench, campaign, f"{SAYS_THE_SAME} {LESSON}.")
    item = {"title": "Larger numbers score more", "body": SAYS_THE_SAME, "source": "arxiv:2406.06484"}
    added = await bench.call("add_cognition", campaign=campaign, items=[item])
    assert added["added"] == ["k4"]
    assert added["near"][0]["near"] == "k3"


async def test_lessons_off_leaves_the_places_of_hidden_items_to_others(bench):
    campaign = await bench.campaign(options={"lessons": False})
    await promoted(bench, campaign, *(f"Wombats dig number {place}." for place in range(5)))
    item = {"title": "Burrows", "body": "Wombats dig burrows, and much else is said of them here.", "source": "s"}
    await bench.call("add_cognition", campaign=campaign, items=[item])
    found = await bench.call("search_cognition", campaign=campaign, query="wombats dig number", top_k=3)
    assert "Burrows" in [entry["title"] for entry in found["items"]]


async def test_lessons_off_shows_the_marks_of_a_judge_without_its_words(bench):
    campaign = await bench.campaign(domain=str(Path(NUMBER_DOMAIN).parent / "essay"), options={"lessons": False})
    marks = {"clarity": 3.0, "depth": 4.0}
    await bench.call("record_judgement", node="n1", marks=marks, comment=f"Too short: {ANALYSIS}.")
    (shown,) = (await bench.call("get_node", node="n1"))["judgements"]
    assert shown == {"by": "agent", "marks": marks}
    await bench.call("update_campaign", campaign=campaign, options={"lessons": True})
    (shown,) = (await bench.call("get_node", node="n1"))["judgements"]
    assert ANALYSIS in shown["comment"]


async def test_lessons_off_finds_no_node_by_its_analysis(bench):
    campaign = await bench.campaign(options={"lessons": False})
    node = await bench.node(campaign, 2.0, motivation="A constant.")
    await bench.call("record_analysis", node=node, report=f"It is {ANALYSIS}.")
    assert (await bench.call("search_nodes", campaign=campaign, query=ANALYSIS))["nodes"] == []


async def test_cognition_off_brings_none_and_counts_no_retrieval(bench):
    campaign = await bench.campaign(options={"cognition": False})
    await bench.call("sample_nodes", campaign=campaign)
    found = await bench.call("search_cognition", campaign=campaign, query="number bound")
    assert found["items"] == []
    assert "options.cognition=false" in found["notice"]
    assert "retrieved" not in json.dumps(await bench.call("campaign_status", campaign=campaign, detail="full"))
    added = await bench.call("add_cognition", campaign=campaign, items=[{"title": "t", "body": "b", "source": "s"}])
    assert added["added"] == ["k3"]
    assert "switched off" in added["next"]


async def test_a_campaign_can_be_started_without_cognition_and_says_so(tmp_path):
    async with open_bench(tmp_path) as bench:
        started = await bench.call(
            "start_campaign", domain="circle_packing", options={"cognition": False, "lessons": False}
        )
        assert "cognition_items" not in started
        assert "options.cognition=false" in started["notice"]
        assert "options.lessons=false" in started["notice"]
