"""What the laboratory does when the workspace changes beneath it."""

import shutil

import pytest
from asi_evolve.database.workspace import open_workspace

from .conftest import open_bench

pytestmark = pytest.mark.anyio


async def test_a_workspace_that_was_removed_is_made_again_and_nothing_is_written_to_the_old_one(tmp_path):
    root = tmp_path / "workspace"
    async with open_bench(root) as bench:
        await bench.campaign()
        shutil.rmtree(root)
        result = await bench.client.call_tool("campaign_status", {"campaign": "c1"})
        assert result.is_error
        assert "there is no c1" in result.content[0].text
        assert await bench.campaign() == "c1"
        async with open_workspace(root) as beside:
            assert await beside.read.value("SELECT count(*) FROM campaigns") == 1


async def test_asking_for_the_status_starts_a_daemon_where_something_waits(tmp_path):
    async with open_bench(tmp_path) as bench:
        campaign = await bench.campaign()
        woken = []
        bench.laboratory.wake_engineer = lambda: woken.append(campaign)
        await bench.call("campaign_status", campaign=campaign)
        assert not woken, "nothing waits"
        await bench.call(
            "run_experiment",
            campaign=campaign,
            name="n",
            motivation="m",
            code="def number(seed):\n    return 2\n",
            wait_s=0,
        )
        woken.clear()
        await bench.call("campaign_status", campaign=campaign)
        assert woken
