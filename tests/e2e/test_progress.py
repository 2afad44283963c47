"""Progress through a real client: it hears how far a run is, and a rule ends a bad one, whoever is killed meanwhile."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import pytest
from mcp import Client

from ..waiting import until_async
from .conftest import call

FALLING_DOMAIN = str(Path(__file__).parent.parent / "domain_folders" / "falling")
SLOW = "import time\ndef loss(step, seed):\n    time.sleep(0.12)\n    return 9.0 / step\n"
BROKEN = "import time\ndef loss(step, seed):\n    time.sleep(0.05)\n    return 9.0\n"
NAN = "import time\ndef loss(step, seed):\n    time.sleep(0.05)\n    return 1.0 if step < 3 else float('nan')\n"


async def begin(client):
    started = await call(client, "start_campaign", domain=FALLING_DOMAIN, seeds=2)
    baseline = await call(client, "wait_experiment", experiments=[started["baseline"]["experiment"]], wait_s=40)
    assert baseline["outcome"] == "scored", baseline
    return started["campaign"]


def order(campaign, code, **more):
    return {"campaign": campaign, "name": "c", "motivation": "m", "code": code, "seeds": 1} | more


@pytest.mark.slow
def test_a_client_hears_how_far_a_run_is_and_the_status_shows_it(lab):
    said = []

    async def hear(part, total, message):
        said.append((part, total, message))

    async def run():
        async with Client(lab.stdio()) as client, Client(lab.stdio()) as other:
            campaign = await begin(client)
            work = asyncio.create_task(
                client.call_tool("run_experiment", order(campaign, SLOW, wait_s=40), progress_callback=hear)
            )
            shown = []

            async def status():
                entries = (await call(other, "campaign_status", campaign=campaign)).get("unfinished", [])
                shown.extend(entry["progress"] for entry in entries if "progress" in entry)
                return shown

            while not await status():
                await asyncio.sleep(0.2)
            result = (await work).structured_content
            assert result["outcome"] == "scored", result
            assert re.fullmatch(r"seed 0: \d+ %, step \d+, loss [\d.]+", shown[0])
            node = await call(other, "get_node", node=result["node"])
            assert node["progress"]["lines"] == 40
            assert node["progress"]["rows"][-1] == [100.0, 0.225]
            whole = json.loads((await client.read_resource(node["progress"]["all"])).contents[0].text)
            assert len(whole["runs"][0]["rows"]) == 40

    asyncio.run(run())
    assert any(re.fullmatch(r"e2 explore \d+ %, step \d+, loss [\d.]+", message) for _, _, message in said), said
    parts = [part for part, _, _ in said]
    assert parts == sorted(set(parts))
    assert 0.05 < parts[-1] < 1
    assert {total for _, total, _ in said} == {1}


def test_a_bad_run_ends_early_with_the_reason(lab):
    async def run():
        async with Client(lab.stdio()) as client:
            campaign = await begin(client)
            result = await call(client, "run_experiment", **order(campaign, NAN, wait_s=40))
            assert result["outcome"] == "rejected", result
            assert result["reason"] == "Stopped early at 7.5 % (step 3): loss is not finite."
            assert "score" not in result
            result = await call(client, "run_experiment", **order(campaign, BROKEN, wait_s=40))
            assert result["outcome"] == "rejected", result
            assert "(step 10): loss 9 is above 1.305 (the baseline's 1.005 + 3 x 0.1, 2 seeds)" in result["reason"]
            status = await call(client, "campaign_status", campaign=campaign)
            assert status["nodes"] == {"scored": 1, "rejected": 2}
            assert status["plateau"]["candidates_since_best"] == 2
            assert status["needs_analysis"] == ["n3", "n2"] or status["needs_analysis"] == ["n2", "n3"]

    asyncio.run(run())


@pytest.mark.slow
def test_a_killed_daemon_costs_neither_the_progress_nor_the_stop(lab):
    late = "import time\ndef loss(step, seed):\n    time.sleep(0.1)\n    return 1.0 if step < 30 else float('nan')\n"

    async def run():
        async with Client(lab.stdio()) as client:
            campaign = await begin(client)
            queued = await call(client, "run_experiment", **order(campaign, late, wait_s=0))
            await until_async(lambda: list(lab.paths.jobs.glob("e2-*/progress.json")))
            old = lab.daemon_pid()
            os.kill(old, signal.SIGKILL)
            result = await call(client, "wait_experiment", experiments=[queued["experiment"]], wait_s=40)
            assert result["outcome"] == "rejected", result
            assert "(step 30): loss is not finite" in result["reason"]
            assert lab.daemon_pid() not in (None, old)
            node = await call(client, "get_node", node=result["node"])
            assert (node["progress"]["lines"], node["progress"]["rows"][0]) == (30, [2.5, 1.0])

    asyncio.run(run())
