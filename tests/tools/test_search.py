"""Looking at nodes: the sample that begins a round, the leaderboard, the search, the comparison, one node in full."""

import anyio
import pytest
from asi_evolve.evolution.outcomes import Outcome

from .conftest import open_bench, program

pytestmark = pytest.mark.anyio


async def test_a_sample_is_a_parent_with_its_program_and_the_knowledge_that_fits(bench, campaign):
    sample = await bench.call("sample_nodes", campaign=campaign)
    parent = sample["parent"]
    assert (parent["id"], parent["score"], parent["baseline"], parent["visits"]) == ("n1", 1.0, True, 1)
    assert parent["why"].startswith("ucb1")
    assert "def number" in parent["files"]["number.py"]
    assert "references" not in sample, "there is nothing else to refer to"
    assert "run_experiment(campaign='c1', parents=['n1']" in sample["next"]


async def test_references_come_beside_the_parent(bench, campaign):
    nodes = [await bench.node(campaign, value, parents=["n1"]) for value in (2.0, 3.0, 4.0)]
    await bench.node(campaign, 9.0, Outcome.CANDIDATE_ERROR)
    await bench.queue(campaign, 10.0)
    sample = await bench.call("sample_nodes", campaign=campaign)
    known = [sample["parent"], *sample["references"]]
    assert [node["id"] for node in known] == [nodes[2], nodes[1], nodes[0]]
    assert all("files" not in node for node in sample["references"])
    assert all(node["motivation"] for node in known)
    more = await bench.call("sample_nodes", campaign=campaign, references=10)
    assert {node["id"] for node in [more["parent"], *more["references"]]} == {"n1", *nodes}, "failures are never drawn"
    assert "references" not in await bench.call("sample_nodes", campaign=campaign, references=0)


async def test_analyses_call_up_the_cognition_and_lessons_of_a_sample(bench, campaign):
    node = await bench.node(campaign, 2.0)
    await bench.call("record_analysis", node=node, report="The outcome was invalid.", lessons=["Stay under 100."])
    sample = await bench.call("sample_nodes", campaign=campaign)
    assert sample["parent"]["id"] == node
    assert sample["parent"]["analysis"] == "The outcome was invalid."
    assert "The bound is strict" in [item["title"] for item in sample["cognition"]]
    assert sample["cognition"][0]["source"].startswith("https://")
    assert sample["lessons"] == [{"id": "l1", "node": node, "text": "Stay under 100."}]
    assert sample["cognition_method"] == "lexical"


async def test_where_there_is_no_analysis_the_motivation_calls_up_the_cognition(bench, campaign):
    await bench.node(campaign, 2.0, motivation="A constant near the bound scores more.")
    sample = await bench.call("sample_nodes", campaign=campaign, references=0)
    assert "analysis" not in sample["parent"]
    assert "Larger numbers score more" in [item["title"] for item in sample["cognition"]]


async def test_a_long_program_is_pointed_to_rather_than_quoted(bench, campaign):
    long = program(2.0) + "".join(f"x_{line} = {line}\n" for line in range(600))
    node = await bench.node(campaign, 2.0, code=long)
    parent = (await bench.call("sample_nodes", campaign=campaign))["parent"]
    assert "files" not in parent
    assert parent["files_of"] == {"number.py": len(long)}
    assert parent["code"] == f"get_node(node='{node}', part='code')"
    full = await bench.call("sample_nodes", campaign=campaign, detail="full", references=2)
    assert {"n1", node} == {full["parent"]["id"], full["references"][0]["id"]}
    assert "files" in full["parent"]


async def test_samples_are_the_same_again_with_the_same_seed(tmp_path):
    drawn = []
    for place in range(2):
        async with open_bench(tmp_path / str(place)) as bench:
            campaign = await bench.campaign(sampler="random", seed=42)
            for value in range(2, 8):
                await bench.node(campaign, value)
            samples = [await bench.call("sample_nodes", campaign=campaign) for _ in range(12)]
            drawn.append([[s["parent"]["id"], *(node["id"] for node in s["references"])] for s in samples])
    assert drawn[0] == drawn[1]
    assert len({parent for parent, *_ in drawn[0]}) > 2, "and they are not all the same"


async def test_twenty_samples_at_once_are_twenty_visits(bench, campaign):
    for value in (2.0, 3.0, 4.0):
        await bench.node(campaign, value)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(lambda: bench.call("sample_nodes", campaign=campaign))
    nodes = (await bench.call("search_nodes", campaign=campaign))["nodes"]
    assert sum(node["visits"] for node in nodes) == 20
    assert all(node["visits"] for node in nodes), "ucb1 spreads them"


async def test_before_anything_has_scored_a_sample_says_what_to_wait_for(bench):
    campaign = await bench.campaign(score=None)
    assert "wait_experiment(experiments=['e1'])" in await bench.refusal("sample_nodes", campaign=campaign)


async def test_without_a_query_the_search_is_the_leaderboard(bench, campaign):
    for value in (2.0, 5.0, 3.0):
        await bench.node(campaign, value)
    found = await bench.call("search_nodes", campaign=campaign)
    assert [node["score"] for node in found["nodes"]] == [5.0, 3.0, 2.0, 1.0]
    assert found["total"] == 4
    assert "next_offset" not in found
    assert "get_node" in found["next"]


@pytest.mark.parametrize(
    ("sort", "order"), [("newest", "n4 n3 n2 n1"), ("oldest", "n1 n2 n3 n4"), ("best", "n3 n4 n2 n1")]
)
async def test_the_search_sorts(bench, campaign, sort, order):
    for value in (2.0, 5.0, 3.0):
        await bench.node(campaign, value)
    found = await bench.call("search_nodes", campaign=campaign, sort=sort)
    assert " ".join(node["id"] for node in found["nodes"]) == order


async def test_the_search_filters_by_outcome(bench, campaign):
    crashed = await bench.node(campaign, 2.0, Outcome.CANDIDATE_ERROR)
    queued = (await bench.queue(campaign, 3.0))["node"]
    for outcome, expected in (("candidate_error", [crashed]), ("queued", [queued]), ("scored", ["n1"]), ("limit", [])):
        found = await bench.call("search_nodes", campaign=campaign, outcome=outcome)
        assert [node["id"] for node in found["nodes"]] == expected, outcome
        assert found["total"] == len(expected)


async def test_the_pages_of_a_search_are_every_node_once(bench, campaign):
    for value in range(2, 9):
        await bench.node(campaign, value)
    seen, offset = [], 0
    while offset is not None:
        page = await bench.call("search_nodes", campaign=campaign, limit=3, offset=offset)
        seen += [node["id"] for node in page["nodes"]]
        offset = page.get("next_offset")
    assert sorted(seen) == sorted(f"n{place}" for place in range(1, 9))
    beyond = await bench.call("search_nodes", campaign=campaign, offset=100)
    assert (beyond["nodes"], beyond["next"]) == (
        [],
        f"That was all: there are {beyond['total']}, so begin at a smaller offset.",
    )


async def test_a_query_finds_what_was_tried_in_motivations_and_analyses_the_most_relevant_first(bench, campaign):
    wanted = await bench.node(campaign, 2.0, motivation="Try gradient descent with momentum.")
    other = await bench.node(campaign, 90.0, motivation="A constant, with no descent at all.")
    told = await bench.node(campaign, 3.0, motivation="Another constant.")
    await bench.call("record_analysis", node=told, report="It behaves like simulated annealing.")
    found = await bench.call("search_nodes", campaign=campaign, query="gradient descent momentum")
    assert [node["id"] for node in found["nodes"]] == [wanted, other]
    assert found["method"] == "lexical"
    best = await bench.call("search_nodes", campaign=campaign, query="gradient descent momentum", sort="best")
    assert [node["id"] for node in best["nodes"]] == [other, wanted]
    found = await bench.call("search_nodes", campaign=campaign, query="annealing")
    assert [node["id"] for node in found["nodes"]] == [told]
    assert found["nodes"][0]["analysis"].startswith("It behaves")
    none = await bench.call("search_nodes", campaign=campaign, query="annealing", outcome="limit")
    assert none["nodes"] == []


@pytest.mark.parametrize("query", ['"', "NEAR(", "a AND", "*", "-", "col:x", "'; DROP TABLE nodes; --", "\ud800", "🦀"])
async def test_nothing_in_a_query_is_an_operator(bench, campaign, query):
    assert (await bench.call("search_nodes", campaign=campaign, query=query))["nodes"] == []
    assert "next" in await bench.call("search_cognition", campaign=campaign, query=query + " bound")


async def test_one_campaigns_search_never_shows_anothers_nodes(bench, campaign):
    other = await bench.campaign()
    theirs = await bench.node(other, 2.0, motivation="Something peculiar.")
    assert (await bench.call("search_nodes", campaign=campaign, query="peculiar"))["nodes"] == []
    assert (await bench.call("search_nodes", campaign=other, query="peculiar"))["nodes"][0]["id"] == theirs


async def test_a_comparison_is_the_diff_and_what_it_did_to_the_metrics(bench, campaign):
    node = await bench.node(campaign, 2.5, code=program(2.5, comment="import math\n"), parents=["n1"])
    compared = await bench.call("compare_nodes", a="n1", b=node)
    assert compared["difference"]["mean"] == 1.5
    assert compared["metric_changes"] == {"value": 1.5}
    assert "--- n1/number.py" in compared["diff"]
    assert "+++ n2/number.py" in compared["diff"]
    assert "+import math" in compared["diff"]
    assert "next_offset" not in compared
    assert "get_node" in compared["next"]
    same = await bench.call("compare_nodes", a=node, b=node)
    assert same["diff"] == "(the programs are equal)"


async def test_a_comparison_across_stages_is_marked_as_doubtful(bench, campaign):
    node = await bench.node(campaign, 2.0)
    promoted = await bench.call("promote_node", node=node, stage="verify", wait_s=0)
    await bench.settle(promoted["experiment"], score=3.0)
    assert "different stages (explore, verify)" in (await bench.call("compare_nodes", a="n1", b=node))["note"]


async def test_a_comparison_with_a_node_that_has_not_scored_has_no_change_of_score(bench, campaign):
    queued = await bench.queue(campaign, 2.0)
    compared = await bench.call("compare_nodes", a="n1", b=queued["node"])
    assert "difference" not in compared
    assert "diff" in compared


async def test_the_pages_of_a_long_diff_are_the_whole_diff(bench, campaign):
    node = await bench.node(campaign, 2.0, code=program(2.0) + "".join(f"x_{line} = {line}\n" for line in range(1500)))
    diff, offset = "", 0
    while offset is not None:
        page = await bench.call("compare_nodes", a="n1", b=node, offset=offset)
        diff += page["diff"]
        offset = page.get("next_offset")
    assert [line for line in diff.splitlines() if line.startswith("+x_")] == [
        f"+x_{line} = {line}" for line in range(1500)
    ]


async def test_a_node_in_full_has_lineage_runs_analysis_and_where_its_code_is(bench, campaign):
    node = await bench.node(campaign, 2.0, parents=["n1"], inspired_by=["k1"], told={"logs": {"stderr": "a warning"}})
    shown = await bench.call("get_node", node=node)
    assert shown["campaign"] == campaign
    assert (shown["parents"], shown["inspired_by"], shown["motivation"]) == (["n1"], ["k1"], "Try 2.0.")
    assert shown["runs"][0] | {"stage": "explore", "outcome": "scored", "metrics": {"value": 2.0}} == shown["runs"][0]
    assert shown["environment"] == {"python": "3.11"}
    assert shown["files"] == {"number.py": len(program(2.0))}
    assert "still to be done" in shown["next"]
    await bench.call("record_analysis", node=node, report="the report", lessons=["the lesson"])
    shown = await bench.call("get_node", node=node)
    assert shown["analysis"] == "the report"
    assert shown["lessons"][0]["text"] == "the lesson"


@pytest.mark.parametrize("limit", [100, 999, 8000, 40_000])
async def test_the_pages_of_a_program_are_the_whole_text_exactly_once(bench, campaign, limit):
    code = program(2.0) + "".join(f"# line {line} äöü 🦀 𝕏\n" for line in range(150))
    node = await bench.node(campaign, 2.0, code=code)
    whole, offset = "", 0
    while offset is not None:
        result = await bench.client.call_tool(
            "get_node", {"node": node, "part": "code", "offset": offset, "limit": limit}
        )
        head, _, part = result.content[0].text.partition("\n")
        assert result.structured_content is None, "clients would show every newline of it escaped"
        assert head.startswith(f"[{node} number.py: characters {offset} to ")
        assert len(part) <= limit
        whole += part
        offset = int(head.partition("next_offset=")[2].rstrip("]")) if "next_offset=" in head else None
    assert whole == code


async def test_the_log_of_a_nodes_last_run_is_paged_by_stream(bench, campaign):
    logs = {"stdout": "out " * 100, "stderr": "err " * 5000}
    node = await bench.node(campaign, 2.0, Outcome.CANDIDATE_ERROR, {"logs": logs})
    first = await bench.text("get_node", node=node, part="log")
    assert "stderr of stage explore, seed 0" in first
    assert "next_offset=8000" in first
    assert "out out" in await bench.text("get_node", node=node, part="log", stream="stdout")
    empty = await bench.text("get_node", node=node, part="log", stream="evaluator")
    assert "printed nothing to evaluator" in empty
    assert "stderr has 20000 characters, stdout has 400 characters" in empty
