"""Prompts, and the completions of their arguments and of resource addresses."""

import re

import pytest
from mcp import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from ..tools.conftest import open_bench

pytestmark = pytest.mark.anyio

GIVEN = {
    "research_round": {"campaign": "c7"},
    "analyze_experiment": {"experiment": "e17"},
    "run_campaign": {"domain": "circle_packing", "rounds": "12"},
}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_prompts_are_these_with_their_arguments_described(tmp_path, mode):
    async with open_bench(tmp_path, mode) as bench:
        prompts = {prompt.name: prompt for prompt in (await bench.client.list_prompts()).prompts}
    assert {name: {argument.name for argument in prompt.arguments} for name, prompt in prompts.items()} == {
        name: set(arguments) for name, arguments in GIVEN.items()
    }
    assert all(argument.description for prompt in prompts.values() for argument in prompt.arguments)
    assert all(prompt.title and prompt.description for prompt in prompts.values())


@pytest.mark.parametrize("name", GIVEN)
async def test_a_prompt_carries_its_arguments_and_names_only_tools_that_exist(bench, name):
    (message,) = (await bench.client.get_prompt(name, GIVEN[name])).messages
    text = message.content.text
    assert all(value in text for value in GIVEN[name].values())
    tools = {tool.name for tool in (await bench.client.list_tools()).tools}
    called = set(re.findall(r"\b([a-z]+_[a-z]+)\(", text))
    assert called
    assert called <= tools


async def test_a_prompt_says_which_argument_is_missing_or_unknown(bench):
    with pytest.raises(MCPError, match="Expected prompt research_round to be given campaign, but campaign is missing"):
        await bench.client.get_prompt("research_round", {})
    with pytest.raises(MCPError, match="it has no round"):
        await bench.client.get_prompt("run_campaign", {"domain": "circle_packing", "round": "3"})


async def test_the_number_of_rounds_has_a_default(bench):
    (message,) = (await bench.client.get_prompt("run_campaign", {"domain": "circle_packing"})).messages
    assert "for 10 rounds" in message.content.text


async def values(bench, reference, name, typed="", given=None):
    completed = await bench.client.complete(reference, {"name": name, "value": typed}, given)
    return completed.completion.values


async def test_arguments_of_prompts_complete_to_what_exists(bench, campaign):
    await bench.queue(campaign, 2.0)
    prompt = {name: PromptReference(type="ref/prompt", name=name) for name in GIVEN}
    assert await values(bench, prompt["research_round"], "campaign") == ["c1"]
    assert await values(bench, prompt["analyze_experiment"], "experiment") == ["e2", "e1"], "newest first"
    assert await values(bench, prompt["run_campaign"], "domain", "cir") == ["circle_packing"]
    assert await values(bench, prompt["run_campaign"], "rounds") == []


async def test_parts_of_addresses_complete_to_what_exists(bench, campaign):
    await bench.queue(campaign, 2.0)

    def template(address):
        return ResourceTemplateReference(type="ref/resource", uri=f"evolve://{address}")

    assert await values(bench, template("campaigns/{id}"), "id", "c") == ["c1"]
    assert await values(bench, template("nodes/{id}"), "id") == ["n2", "n1"]
    assert await values(bench, template("nodes/{id}"), "id", "n2") == ["n2"]
    assert await values(bench, template("experiments/{id}/log"), "id") == ["e2", "e1"]
    assert await values(bench, template("domains/{name}"), "name") == [
        "circle_packing",
        "linear_attention",
        "rl_algorithm",
    ]
    files = template("nodes/{id}/files/{+path}")
    assert await values(bench, files, "path", "", {"id": "n1"}) == ["number.py"]
    for node in ("n99", "moon", "e1", ""):
        assert await values(bench, files, "path", "", {"id": node}) == [], node


async def test_at_most_a_hundred_values_come_and_the_newest_are_among_them(bench):
    campaign = await bench.campaign(budget={"experiments": 200})
    for value in range(2, 110):
        await bench.queue(campaign, float(value))
    found = await values(bench, ResourceTemplateReference(type="ref/resource", uri="evolve://nodes/{id}"), "id")
    assert (len(found), found[0]) == (100, "n109")
