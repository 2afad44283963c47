"""A score that is too good, as an agent sees it, while the daemon is killed."""

import asyncio
import os
import shutil
import signal

from asi_evolve.database.workspace import open_workspace
from mcp import Client

from .conftest import NUMBER_DOMAIN, call, program

SLOW_REPEATS = program("90.0", inside="time.sleep(0 if seed == 0 else 3)")


def small_population(tmp_path):
    folder = shutil.copytree(NUMBER_DOMAIN, tmp_path / "number")
    spec = folder / "domain.toml"
    spec.write_text(spec.read_text().replace("[fitness]\n", "[quarantine]\npopulation = 3\n\n[fitness]\n"))
    return str(folder)


async def try_out(client, campaign, code, **arguments):
    return await call(
        client, "run_experiment", campaign=campaign, name="n", motivation="m", code=code, **{"wait_s": 40} | arguments
    )


def test_an_agent_sees_that_a_score_is_held_and_why_and_a_killed_daemon_changes_nothing(lab, tmp_path):
    async def run():
        async with Client(lab.stdio()) as client:
            started = await call(client, "start_campaign", domain=small_population(tmp_path))
            campaign = started["campaign"]
            await call(client, "wait_experiment", experiments=[started["baseline"]["experiment"]], wait_s=40)
            for value in ("1.5", "2.0", "2.5"):
                assert (await try_out(client, campaign, program(value)))["outcome"] == "scored"
            held = await try_out(client, campaign, SLOW_REPEATS, wait_s=0)
            while held["status"] in ("queued", "running"):
                held = await call(client, "wait_experiment", experiments=[held["experiment"]], wait_s=0)
            assert (held["status"], held["quarantine"]) == ("quarantined", "outlier")
            assert "score" not in held
            assert "robust deviations above the median" in held["reason"]

            status = await call(client, "campaign_status", campaign=campaign)
            assert status["quarantined"] == [held["experiment"]]
            assert status["nodes"]["quarantined"] == 1
            assert status["best"][0]["score"] == 2.5
            node = await call(client, "get_node", node=held["node"])
            assert node["status"] == "quarantined"
            assert "score" not in node
            assert node["runs"][0]["counts"] == "no: quarantined"
            listed = await call(client, "search_nodes", campaign=campaign, outcome="quarantined")
            assert [entry["id"] for entry in listed["nodes"]] == [held["node"]]
            sample = await call(client, "sample_nodes", campaign=campaign, references=10)
            drawn = [sample["parent"]["id"], *(entry["id"] for entry in sample["references"])]
            assert held["node"] not in drawn
            assert len(drawn) == 4
            refused = await client.call_tool("promote_node", {"node": held["node"]})
            assert refused.is_error
            assert "it is quarantined" in refused.content[0].text

            os.kill(lab.daemon_pid(), signal.SIGKILL)
            result = await call(client, "wait_experiment", experiments=[held["experiment"]], wait_s=45)
            assert (result["outcome"], result["score"]) == ("scored", 90.0), result
            assert "released from quarantine" in result["reason"]
            status = await call(client, "campaign_status", campaign=campaign)
            assert "quarantined" not in status
            assert status["best"][0]["id"] == held["node"]

    asyncio.run(run())

    async def counts():
        async with open_workspace(lab.root) as workspace:
            return [
                await workspace.read.value("SELECT count(*) FROM evaluations WHERE experiment_id = 5"),
                await workspace.read.value("SELECT count(DISTINCT seed) FROM evaluations WHERE experiment_id = 5"),
                await workspace.read.value("SELECT count(*) FROM jobs"),
            ]

    assert asyncio.run(counts()) == [3, 3, 0]
