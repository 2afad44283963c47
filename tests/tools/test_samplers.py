"""Samplers of other packages: found by their entry point, given the population, and held to their protocol."""

import importlib
import re
from pathlib import Path

import pytest
from asi_evolve.evolution.models import SamplingOptions

pytestmark = pytest.mark.anyio
HEAD = """
import random
from asi_evolve.evolution.sampling import Choice, Member

class Oldest:
    def __init__(self, options):
        self.options = options
    async def choose(self, population, count, rng):
        assert isinstance(rng, random.Random)
        best = await population.best(1000)
        return [Choice(member, f"old, c={self.options.exploration_weight}") for member in sorted(best)[:count]]
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A package that announces the sampler `oldest`; its module's text can be replaced."""
    folder = tmp_path / "site"
    info = folder / "oldest_first-1.0.dist-info"
    info.mkdir(parents=True)
    module = folder / "oldest_first.py"
    module.write_text(HEAD)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: oldest-first\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[asi_evolve.samplers]\noldest = oldest_first:Oldest\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()

    def replace(body):
        module.write_text(HEAD + body)
        monkeypatch.delitem(importlib.sys.modules, "oldest_first", raising=False)
        importlib.invalidate_caches()

    replace("")
    yield replace
    monkeypatch.delitem(importlib.sys.modules, "oldest_first", raising=False)


async def test_an_installed_sampler_draws_parents_and_references_with_the_campaigns_options(bench, site):
    campaign = await bench.campaign(sampler="oldest", options={"sampling": {"exploration_weight": 0.5}})
    for value in (2, 3, 4):
        await bench.node(campaign, value)
    sample = await bench.call("sample_nodes", campaign=campaign)
    assert [sample["parent"]["id"], *(node["id"] for node in sample["references"])] == ["n1", "n2", "n3"]
    assert sample["parent"]["why"] == "oldest: old, c=0.5"
    await bench.call("update_campaign", campaign=campaign, options={"sampling": {"population_cap": 2}})
    assert (await bench.call("sample_nodes", campaign=campaign))["parent"]["id"] == "n3", "of the best two"


async def test_others_can_write_while_the_package_of_a_sampler_is_imported(bench, site):
    campaign = await bench.campaign(sampler="oldest")
    database = (await bench.workspace()).database.path
    site(
        "from asi_evolve.database.connection import find_driver\n"
        f"connection = find_driver().module.connect({str(database)!r}, timeout=0, isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE')\nconnection.close()\n"
    )  # as in a server that was started again
    assert (await bench.call("sample_nodes", campaign=campaign))["parent"]["id"] == "n1"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    async def choose(self, *_): raise RuntimeError('no luck')", "failed: RuntimeError('no luck')"),
        ("    async def choose(self, *_): return 'n1'", "returned 'n1' where a list of Choice was expected"),
        ("    async def choose(self, *_): return [1]", "returned 1 among its choices"),
        (
            "    async def choose(self, *_): return [Choice(Member(99, 1.0, 0), 'why')]",
            "chose a node that does not exist",
        ),
        (
            "    async def choose(self, *_): return [Choice(Member(2, 1.0, 0), 'why')]",
            "chose n2, which is not among the scored nodes of c1",
        ),
        (
            "    async def choose(self, *_): return [Choice(Member(1, 1.0, 0), 'why')] * 2",
            "chose the same node twice",
        ),
        ("    def choose(self, *_): return []", "failed: TypeError"),
        ("    async def choose(self): return []", "failed: TypeError"),
        ("    choose = None", "has no method choose"),
        ("    def __init__(self, options): raise ValueError('no')", "cannot be made: ValueError('no')"),
    ],
)
async def test_whatever_an_installed_sampler_does_wrong_is_told_and_nothing_is_lost(bench, site, body, told):
    campaign = await bench.campaign(sampler="oldest")
    await bench.queue(campaign, 2.0)
    site(body)
    message = await bench.refusal("sample_nodes", campaign=campaign)
    assert told in message
    assert message.startswith("Sampler oldest ")
    assert "choose another sampler out of ucb1" in message
    await bench.call("update_campaign", campaign=campaign, sampler="ucb1")
    assert (await bench.call("sample_nodes", campaign=campaign))["parent"]["id"] == "n1"


async def test_the_sampler_of_the_docs_works_and_the_docs_name_every_option(bench, site):
    text = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    site(example)
    campaign = await bench.campaign(sampler="oldest")
    assert (await bench.call("sample_nodes", campaign=campaign))["parent"]["why"] == "oldest: the oldest"
    assert [name for name in SamplingOptions.model_fields if f"`{name}`" not in text] == []


async def test_one_that_never_answers_is_given_up(bench, site, monkeypatch):
    campaign = await bench.campaign(sampler="oldest")
    monkeypatch.setattr("asi_evolve.tools.samplers.PATIENCE_S", 0.2)
    site("    async def choose(self, *_):\n        import asyncio\n        await asyncio.sleep(600)\n")
    assert "took more than" in await bench.refusal("sample_nodes", campaign=campaign)
    site("")
    assert (await bench.call("sample_nodes", campaign=campaign))["parent"]["id"] == "n1"


async def test_a_sampler_that_is_not_installed_is_refused_with_those_there_are(bench, site):
    refused = await bench.refusal("start_campaign", domain="circle_packing", sampler="softmax")
    assert "ucb1, greedy, random, map_elites, oldest, but got 'softmax'" in refused


async def test_one_that_was_uninstalled_can_be_left_and_the_budget_changed(bench, site, monkeypatch):
    campaign = await bench.campaign(sampler="oldest")
    monkeypatch.setattr("asi_evolve.tools.samplers.ENTRY_POINT_GROUP", "asi_evolve.gone")
    await bench.call("update_campaign", campaign=campaign, budget={"experiments": 7})
    assert "but got 'oldest'" in await bench.refusal("sample_nodes", campaign=campaign)
    await bench.call("update_campaign", campaign=campaign, sampler="greedy")
    assert (await bench.call("sample_nodes", campaign=campaign))["parent"]["id"] == "n1"
