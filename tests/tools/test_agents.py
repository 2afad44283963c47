"""Eight agents in three processes on one campaign, each process with a server of its own."""

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import pytest
from asi_evolve.database import experiments

from .conftest import open_bench, program

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
AGENTS = 8
ROUNDS = 12
"""For each agent."""


async def agent(bench, campaign, seed):
    """Rounds of draw, submit, settle; every program is sent by several agents, who cannot know of each other."""
    rng = random.Random(seed)
    for place in range(ROUNDS):
        parent = (await bench.call("sample_nodes", campaign=campaign))["parent"]["id"]
        value = 2.0 + place + rng.randrange(4) / 10
        result = await bench.client.call_tool(
            "run_experiment",
            {
                "campaign": campaign,
                "name": "n",
                "motivation": "m",
                "code": program(value, f"# agent {seed}\n"),
                "parents": [parent],
                "wait_s": 0,
            },
        )
        if result.is_error:
            assert "Expected a new program" in result.content[0].text, result.content[0].text
            print("twin", flush=True)
            continue
        await bench.settle(result.structured_content["experiment"], score=value)
        print(parent, flush=True)


async def crew(root, campaign, seeds):
    async with open_bench(root) as bench, asyncio.TaskGroup() as group:
        for seed in seeds:
            group.create_task(agent(bench, campaign, seed))


async def run_crews(root, campaign):
    """Three processes with 3, 3 and 2 agents; the parents that they were handed, and how many twins were refused."""
    code = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        " from tests_of_tools import test_agents;"
        " asyncio.run(test_agents.crew(Path(sys.argv[2]), sys.argv[3], map(int, sys.argv[4:])))"
    )
    folder = root.parent / "path"
    folder.mkdir()
    (folder / "tests_of_tools").symlink_to(Path(__file__).parent)
    crews = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(folder), str(root), campaign, *seeds, stdout=asyncio.subprocess.PIPE
        )
        for seeds in ("012", "345", "67")
    ]
    told = await asyncio.gather(*(crew.communicate() for crew in crews))
    assert [crew.returncode for crew in crews] == [0, 0, 0]
    lines = Counter(b"".join(out for out, _ in told).decode().split())
    return lines, lines.pop("twin", 0)


@pytest.mark.parametrize("sampler", ["ucb1", "map_elites"])
async def test_no_parent_starves_no_twin_is_evaluated_and_every_sample_is_one_visit(tmp_path, sampler):
    root = tmp_path / "workspace"
    async with open_bench(root) as bench:
        campaign = await bench.campaign(sampler=sampler, budget={"experiments": 1000})
        parents, twins = await run_crews(root, campaign)
        reader = (await bench.workspace()).read
        handed_out = AGENTS * ROUNDS
        assert sum(parents.values()) + twins == handed_out
        assert twins > 0, "nobody has sent the same program twice"
        assert await reader.value("SELECT samples_drawn FROM campaigns") == handed_out
        assert await reader.value("SELECT sum(visits) FROM nodes") == handed_out
        assert await reader.value("SELECT count(*) FROM draws") == handed_out
        rows = await reader.all("SELECT count(*) AS times FROM nodes GROUP BY fingerprint HAVING times > 1")
        assert rows == []
        runs = await reader.all("SELECT count(*) AS times FROM experiments GROUP BY node_id HAVING times > 1")
        assert runs == []
        assert await experiments.unfinished(reader, 1) == []
        # A draw is settled by the child of that parent, one for one; the others led to a twin.
        settled = await reader.value("SELECT count(*) FROM draws WHERE settled_by IS NOT NULL")
        assert settled == handed_out - twins == await reader.value("SELECT count(*) FROM nodes") - 1
        if sampler == "ucb1":
            unvisited = await reader.value("SELECT count(*) FROM nodes WHERE visits = 0")
            assert unvisited <= AGENTS, "each agent takes one that nobody has built on and leaves one"
            for _ in range(unvisited):
                await bench.call("sample_nodes", campaign=campaign)
            assert await reader.value("SELECT min(visits) FROM nodes") >= 1, "a parent starved"
