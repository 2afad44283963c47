"""Whatever is killed, no experiment is lost that need not be, and none runs twice."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest
from asi_evolve.database.workspace import open_workspace
from asi_evolve.server.app import build_server
from asi_evolve.server.settings import Settings
from asi_evolve.tools.laboratory import Laboratory
from mcp import Client

from ..waiting import until, until_async
from .conftest import NUMBER_DOMAIN, begin, call, program

SLEEPER = program("7", inside="time.sleep(3)")


async def running_experiment(client, campaign, code=SLEEPER):
    answer = await call(
        client, "run_experiment", campaign=campaign, name="sleeper", motivation="Takes a while.", code=code, wait_s=1
    )
    assert answer["status"] == "running", answer
    return answer["experiment"]


def supervisor_pid(lab) -> int:
    return until(
        lambda: [int(path.read_text()) for path in lab.paths.jobs.glob("*/supervisor.pid") if path.read_text()]
    )[0]


def test_an_experiment_outlives_the_server_that_ordered_it(lab):
    ordered = []

    async def order():
        async with Client(lab.stdio()) as client:
            campaign = await begin(client)
            ordered.append(await running_experiment(client, campaign))
            servers = [child for child in psutil.Process().children() if "serve" in child.cmdline()]
            assert len(servers) == 1
            os.kill(servers[0].pid, signal.SIGKILL)

    async def ask():
        async with Client(lab.stdio()) as client:
            return await call(client, "wait_experiment", experiments=ordered, wait_s=30)

    with contextlib.suppress(Exception):  # how a client takes the loss of its server is its own affair
        asyncio.run(order())
    assert ordered
    result = asyncio.run(ask())
    assert (result["outcome"], result["score"]) == ("scored", 7.0)


def test_a_new_daemon_adopts_the_jobs_of_a_killed_one(lab):
    async def run():
        async with Client(lab.stdio()) as client:
            campaign = await begin(client)
            experiment = await running_experiment(client, campaign)
            old = lab.daemon_pid()
            os.kill(old, signal.SIGKILL)
            result = await call(client, "wait_experiment", experiments=[experiment], wait_s=30)
            assert (result["outcome"], result["score"]) == ("scored", 7.0)
            assert lab.daemon_pid() not in (None, old)

    asyncio.run(run())
    assert "Adopting e2-" in lab.paths.daemon_log.read_text()


def test_a_killed_supervisor_means_lost_and_its_sandbox_is_gone(lab):
    async def run():
        async with Client(lab.stdio()) as client:
            campaign = await begin(client)
            experiment = await running_experiment(client, campaign, program("7", inside="time.sleep(40)"))
            supervisor = supervisor_pid(lab)
            sandboxed = psutil.Process(supervisor).children(recursive=True)
            assert sandboxed
            neighbour = await call(
                client, "run_experiment", campaign=campaign, name="n", motivation="n", code=SLEEPER, wait_s=0
            )
            os.kill(supervisor, signal.SIGKILL)
            result = await call(client, "wait_experiment", experiments=[experiment], wait_s=30)
            assert result["outcome"] == "lost"
            assert "promote_node" in result["next"]
            await until_async(lambda: not any(alive(process) for process in sandboxed))
            beside = await call(client, "wait_experiment", experiments=[neighbour["experiment"]], wait_s=30)
            assert beside["outcome"] == "scored"
            status = await call(client, "campaign_status", campaign=campaign)
            assert result["node"] not in status.get("needs_analysis", []), "lost is not the candidate's fault"

    asyncio.run(run())
    until(lambda: not list(lab.paths.jobs.iterdir()))


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_two_servers_and_eight_clients_run_two_hundred_experiments_once_each(lab):
    async def agent(server, campaign, number):
        handles = []
        async with Client(server) as client:
            for turn in range(25):
                value = f"{number + turn / 100:.2f}"
                answer = await call(
                    client,
                    "run_experiment",
                    campaign=campaign,
                    name=f"a{number}t{turn}",
                    motivation=f"Agent {number}, turn {turn}.",
                    parents=["n1"],
                    code=program(value),
                    idempotency_key=f"{number}-{turn}",
                    wait_s=0,
                )
                handles.append((answer["experiment"], float(value)))
            for experiment, value in handles:
                result = {"status": "queued"}
                while result["status"] != "finished":
                    result = await call(client, "wait_experiment", experiments=[experiment], wait_s=45)
                assert (result["outcome"], result["score"]) == ("scored", value), result

    async def run(first, second):
        async with Client(first) as client:
            campaign = await begin(client, budget={"experiments": 500})
        await asyncio.gather(*(agent((first, second)[number % 2], campaign, number) for number in range(8)))

    with lab.http() as first, lab.http() as second:
        asyncio.run(run(first, second))

    async def counts():
        async with open_workspace(lab.root) as workspace:
            return [
                await workspace.read.value(sql)
                for sql in (
                    "SELECT count(*) FROM nodes",
                    "SELECT count(*) FROM experiments WHERE outcome = 'scored'",
                    "SELECT count(*) FROM evaluations",
                    "SELECT count(DISTINCT experiment_id) FROM evaluations",
                    "SELECT count(*) FROM jobs",
                )
            ]

    assert asyncio.run(counts()) == [201, 201, 201, 201, 0]
    launched = re.findall(r"Launching (\S+)", lab.paths.daemon_log.read_text())
    assert len(launched) == len(set(launched)) == 201, "no job was started twice"
    assert not list(Path(lab.paths.jobs).iterdir())


def test_a_daemon_that_cannot_start_is_reported_and_not_started_again_and_again(tmp_path):
    laboratory = Laboratory(tmp_path / "workspace", [sys.executable, "-c", "raise SystemExit('no luck today')"])

    async def run():
        async with laboratory, Client(build_server(laboratory, Settings(home=tmp_path / "workspace"))[0]) as client:
            started = await call(client, "start_campaign", domain=NUMBER_DOMAIN)
            answer = await call(client, "wait_experiment", experiments=[started["baseline"]["experiment"]], wait_s=2)
            assert answer["status"] == "queued"
            assert "no luck today" in answer["warning"]
            assert "doctor" in answer["warning"]

    asyncio.run(run())
    assert laboratory.paths.daemon_log.read_text().count("no luck today") == 1
