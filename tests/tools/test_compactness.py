"""Answers stay short however much the campaign holds: clients cut at about 12 kB, and every character costs tokens."""

import json

import pytest
from asi_evolve.evolution.outcomes import Outcome

from .conftest import crowd, open_bench, settle

pytestmark = pytest.mark.anyio

LARGEST_ANSWER = 10_000
"""Bytes of a default answer."""


@pytest.fixture(scope="module")
async def full(tmp_path_factory):
    """A campaign with 51 nodes of 8 kB code, 5 kB analyses and motivations of 8 kB; only looked at."""
    async with open_bench(tmp_path_factory.mktemp("full") / "workspace") as bench:
        campaign = await bench.campaign(goal="g" * 2000)
        assert campaign == "c1"
        items = [
            {
                "title": f"{place} {'t' * 190}",
                "body": "bound number size larger " * 700,
                "source": "https://example.org/" + "s" * 80,
                "symptom": "the number is far from the bound " * 30,
                "tags": [f"some-tag-{place}" for place in range(10)],
            }
            for place in range(20)
        ]
        await bench.call("add_cognition", campaign=campaign, items=items)
        await crowd(await bench.workspace(), 1)
        yield bench


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


DEFAULTS = {
    "every domain": ("list_domains", {}),
    "one domain": ("list_domains", {"domain": "circle_packing"}),
    "all campaigns": ("campaign_status", {}),
    "one campaign": ("campaign_status", {"campaign": "c1"}),
    "a search of the cognition": ("search_cognition", {"campaign": "c1", "query": "larger numbers and the bound"}),
    "a search by nodes": ("search_cognition", {"campaign": "c1", "nodes": ["n7", "n9"]}),
    "a scored node": ("get_node", {"node": "n2"}),
    "a failed node": ("get_node", {"node": "n4"}),
    "a program": ("get_node", {"node": "n2", "part": "code"}),
    "a log": ("get_node", {"node": "n4", "part": "log"}),
    "the leaderboard": ("search_nodes", {"campaign": "c1"}),
    "a search of the nodes": ("search_nodes", {"campaign": "c1", "query": "bound"}),
    "a comparison": ("compare_nodes", {"a": "n1", "b": "n3"}),
    "a result": ("wait_experiment", {"experiments": ["e2"]}),
    "a failure": ("wait_experiment", {"experiments": ["e4"]}),
    "twenty results": ("wait_experiment", {"experiments": [f"e{place}" for place in range(1, 21)]}),
    "a sample": ("sample_nodes", {"campaign": "c1"}),
}


@pytest.mark.parametrize("case", DEFAULTS)
async def test_a_default_answer_is_at_most_ten_kilobytes(full, case):
    tool, arguments = DEFAULTS[case]
    text = await full.text(tool, **arguments)
    assert len(text.encode()) <= LARGEST_ANSWER


async def test_a_short_parent_among_long_texts_keeps_the_sample_small(full):
    code = (
        "def number(seed):\n"
        + "    # a remark of some length in a short program, 60 letters\n" * 60
        + "    return 99\n"
    )
    queued = await full.call(
        "run_experiment", campaign="c1", name="short", motivation="m" * 8000, code=code, parents=["n3"], wait_s=0
    )
    await full.settle(queued["experiment"], score=99.0)
    await full.call("record_analysis", node=queued["node"], report="r" * 8000, lessons=["l" * 1000] * 10)
    sample = await full.call("sample_nodes", campaign="c1")
    assert sample["parent"]["id"] == queued["node"]
    assert len(json.dumps(sample, ensure_ascii=False).encode()) <= LARGEST_ANSWER


async def test_a_verification_with_many_seeds_is_summed_up(full):
    queued = await full.call("promote_node", node="n3", stage="verify", seeds=64, wait_s=0)
    await settle(
        await full.workspace(),
        int(queued["experiment"][1:]),
        Outcome.SCORED,
        score=5.0,
        metrics={f"metric_number_{place}": place / 7 for place in range(12)},
    )
    for tool, arguments in {
        "wait_experiment": {"experiments": [queued["experiment"]]},
        "get_node": {"node": "n3"},
    }.items():
        assert len((await full.text(tool, **arguments)).encode()) <= LARGEST_ANSWER, tool


async def test_starting_a_campaign_on_a_domain_with_a_long_brief_stays_small(full):
    text = await full.text("start_campaign", domain="circle_packing")
    assert len(text.encode()) <= LARGEST_ANSWER


async def test_the_most_that_can_be_asked_for_is_bounded_too(full):
    for tool, arguments in {
        "campaign_status": {"campaign": "c1", "detail": "full"},
        "search_nodes": {"campaign": "c1", "limit": 50},
        "sample_nodes": {"campaign": "c1", "detail": "full"},
        "get_node": {"node": "n2", "part": "code", "limit": 40_000},
    }.items():
        assert len((await full.text(tool, **arguments)).encode()) <= 60_000, tool
