"""What a client is told of the server before it calls anything: the public surface, pinned."""

import json

import pytest

from .conftest import open_bench

pytestmark = pytest.mark.anyio

TOOLS = {
    # name: (read-only, destructive, idempotent)
    "list_domains": (True, False, True),
    "start_campaign": (False, False, False),
    "campaign_status": (True, False, True),
    "update_campaign": (False, False, True),
    "sample_nodes": (False, False, False),
    "search_cognition": (True, False, True),
    "add_cognition": (False, False, True),
    "run_experiment": (False, False, False),
    "wait_experiment": (True, False, True),
    "cancel_experiment": (False, True, True),
    "get_node": (True, False, True),
    "search_nodes": (True, False, True),
    "compare_nodes": (True, False, True),
    "record_analysis": (False, False, False),
    "record_judgement": (False, False, False),
    "promote_node": (False, False, False),
}
REACHING_OUT = {"record_judgement", "add_cognition"}
"""They can reach beyond this machine: an endpoint that the user has set up, and arXiv."""
CORE = {"sample_nodes", "search_cognition", "run_experiment", "record_analysis"}
LARGEST_TEXT = 2000
"""Characters of instructions and descriptions; older Claude Code cuts at 2,048."""


@pytest.fixture(params=["auto", "legacy"])
async def listed(request, tmp_path):
    async with open_bench(tmp_path, mode=request.param) as bench:
        yield {tool.name: tool for tool in (await bench.client.list_tools()).tools}


async def test_the_tools_are_these_and_no_others(listed):
    assert listed.keys() == TOOLS.keys()
    assert 12 <= len(listed) <= 16


async def test_every_annotation_is_explicit(listed):
    for name, tool in listed.items():
        notes = tool.annotations
        assert (notes.read_only_hint, notes.destructive_hint, notes.idempotent_hint) == TOOLS[name], name
        assert notes.open_world_hint is (name in REACHING_OUT), name
        assert tool.title and notes.title == tool.title, name


async def test_the_four_core_tools_are_always_loaded_and_no_others(listed):
    assert {name for name, tool in listed.items() if (tool.meta or {}).get("anthropic/alwaysLoad")} == CORE


async def test_only_the_tool_that_returns_programs_raises_the_cap_on_its_size(listed):
    raised = {name for name, tool in listed.items() if "anthropic/maxResultSizeChars" in (tool.meta or {})}
    assert raised == {"get_node"}


async def test_every_description_fits_and_says_something(listed):
    assert {name: len(tool.description) for name, tool in listed.items() if len(tool.description) > LARGEST_TEXT} == {}
    assert [name for name, tool in listed.items() if len(tool.description) < 80] == []


async def test_every_argument_is_described(listed):
    silent = [
        f"{name}.{argument}"
        for name, tool in listed.items()
        for argument, schema in tool.input_schema["properties"].items()
        if not schema.get("description")
    ]
    assert silent == []


async def test_ranges_and_defaults_of_numbers_are_in_the_descriptions_since_codex_drops_them_from_schemas(listed):
    silent = []
    for name, tool in listed.items():
        for argument, schema in tool.input_schema["properties"].items():
            forms = [schema, *schema.get("anyOf", ())]
            largest = next((str(form["maximum"]) for form in forms if "maximum" in form), None)
            written = schema["description"].replace(",", "")
            if largest is not None and largest.removesuffix(".0") not in written:
                silent.append(f"{name}.{argument} does not say {largest}")
    assert silent == []


async def test_no_schema_carries_an_output_schema_that_clients_would_validate(listed):
    assert [name for name, tool in listed.items() if tool.output_schema is not None] == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_instructions_fit_and_name_the_whole_loop(tmp_path, mode):
    async with open_bench(tmp_path, mode=mode) as bench:
        text = bench.client.instructions
    assert len(text) <= LARGEST_TEXT
    for word in [*CORE, "campaign_status", "start_campaign", "wait_experiment", "promote_node", "data, never"]:
        assert word in text


async def test_the_server_says_who_it_is(bench):
    assert bench.client.server_info.name == "evolve"
    assert bench.client.server_info.version


async def test_the_structured_answer_is_the_text_and_has_no_nulls(bench, campaign):
    node = await bench.node(campaign, 2.0, parents=["n1"])
    calls = {
        "list_domains": {},
        "campaign_status": {"campaign": campaign},
        "sample_nodes": {"campaign": campaign},
        "search_cognition": {"campaign": campaign, "query": "bound"},
        "add_cognition": {"campaign": campaign, "items": [{"title": "t", "body": "b", "source": "s"}]},
        "wait_experiment": {"experiments": ["e1"]},
        "get_node": {"node": node},
        "search_nodes": {"campaign": campaign},
        "compare_nodes": {"a": "n1", "b": node},
        "record_analysis": {"node": node, "report": "r"},
        "update_campaign": {"campaign": campaign, "seeds": 2},
    }
    for tool, arguments in calls.items():
        result = await bench.client.call_tool(tool, arguments)
        assert json.loads(result.content[0].text) == result.structured_content, tool
        assert len(result.content) == 1, tool
        assert [name for name, value in result.structured_content.items() if value is None] == [], tool


async def test_starting_a_client_opens_no_workspace(bench):
    await bench.client.list_tools()
    await bench.client.list_prompts()
    assert not bench.laboratory.is_open
    assert not bench.root.exists()
