"""Everything in a transaction happens or nothing, whatever ends it: an error, a cancelled call, a full disk, a kill."""

import asyncio
import re
import signal
import subprocess
import sys

import anyio
import pytest
from asi_evolve.database import campaigns, connection, experiments, nodes
from asi_evolve.database.connection import find_driver
from asi_evolve.database.population import ScoredNodes
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.errors import DatabaseBusy, StorageError
from asi_evolve.evolution.models import CampaignSettings

pytestmark = pytest.mark.anyio
TABLES = ("nodes", "node_texts", "node_files", "lineage", "inspirations", "documents", "experiments", "events")


async def row_counts(reader):
    return {table: await reader.value(f"SELECT count(*) FROM {table}") for table in TABLES}


async def consistent(workspace):
    """SQLite finds no damage, no dangling reference, and a text index that agrees with the texts."""
    assert await workspace.read.value("PRAGMA integrity_check") == "ok"
    assert await workspace.read.all("PRAGMA foreign_key_check") == []
    async with workspace.transaction() as tx:  # raises where the index disagrees
        await tx.execute("INSERT INTO documents_fts (documents_fts, rank) VALUES ('integrity-check', 1)")


def candidate(campaign, name="a node", size=8):
    return nodes.NewNode(campaign, name, f"motivation of {name}", {"a.py": "x" * size}, name)


async def test_an_error_in_a_transaction_undoes_all_of_it_and_reaches_the_caller_as_it_is(desk):
    campaign = await desk.campaign()
    parent = await desk.node(campaign)
    before = await row_counts(desk.read)
    with pytest.raises(ZeroDivisionError):
        async with desk.workspace.transaction() as tx:
            number = await nodes.add(tx, candidate(campaign, "child"))
            await experiments.enqueue(tx, campaign_id=campaign, node_id=number, stage="explore", seeds=[0])
            await nodes.count_visit(tx, campaign, parent)
            1 / 0  # noqa: B018
    assert await row_counts(desk.read) == before
    assert (await nodes.get(desk.read, parent)).visits == 0
    await consistent(desk.workspace)


async def test_a_child_of_a_node_that_does_not_exist_is_not_stored(desk):
    campaign = await desk.campaign()
    before = await row_counts(desk.read)
    with pytest.raises(find_driver().module.IntegrityError, match="FOREIGN KEY"):
        await desk.node(campaign, parents=[999])
    assert await row_counts(desk.read) == before


async def test_a_disk_that_fills_up_in_the_middle_leaves_no_row_and_the_next_write_works(desk):
    campaign = await desk.campaign()
    before = await row_counts(desk.read)
    with pytest.raises(StorageError, match=r"full\. Nothing was stored"):
        async with desk.workspace.transaction() as tx:
            pages = await tx.value("PRAGMA page_count")
            await tx.value(f"PRAGMA max_page_count = {pages + 3}")
            for position in range(20):
                await nodes.add(tx, candidate(campaign, f"node {position}", size=8_000))
    assert await row_counts(desk.read) == before
    async with desk.workspace.transaction() as tx:
        await tx.value("PRAGMA max_page_count = 1000000")
    await desk.node(campaign)
    await consistent(desk.workspace)


async def test_readers_never_see_a_transaction_before_it_is_committed(desk):
    campaign = await desk.campaign()
    async with desk.workspace.transaction() as tx:
        number = await nodes.add(tx, candidate(campaign))
        assert (await nodes.get(tx, number)).name == "a node"
        assert await nodes.count(desk.read, campaign) == 0
    assert await nodes.count(desk.read, campaign) == 1


async def test_tasks_of_one_process_take_turns(desk):
    campaign = await desk.campaign()
    parent = await desk.node(campaign)

    async def visit():
        async with desk.workspace.transaction() as tx:
            drawn = await ScoredNodes(tx, campaign).total_visits()
            await asyncio.sleep(0)
            await nodes.count_visit(tx, campaign, parent)
            return drawn

    assert sorted(await asyncio.gather(*(visit() for _ in range(20)))) == list(range(20))
    assert (await nodes.get(desk.read, parent)).visits == 20


@pytest.mark.parametrize("steps", range(6))
async def test_a_call_cancelled_at_any_moment_holds_no_lock_and_leaves_nothing_by_halves(desk, steps):
    campaign = await desk.campaign()

    async def call():
        async with desk.workspace.transaction() as tx:
            number = await nodes.add(tx, candidate(campaign))
            await experiments.enqueue(tx, campaign_id=campaign, node_id=number, stage="explore", seeds=[0])

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        for _ in range(steps):
            await anyio.sleep(0.0005)
        group.cancel_scope.cancel()
    await asyncio.sleep(0.02)
    counts = await row_counts(desk.read)
    assert counts["nodes"] == counts["experiments"] == counts["documents"]
    async with open_workspace(desk.workspace.paths.root) as other, other.transaction() as tx:
        await nodes.add(tx, candidate(campaign, "from another process"))
    await desk.node(campaign, "from this one")
    assert await nodes.count(desk.read, campaign) == counts["nodes"] + 2


async def test_a_call_cancelled_before_its_turn_came_does_not_lock_the_workspace(desk):
    campaign = await desk.campaign()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with desk.workspace.transaction() as tx:
            await nodes.add(tx, candidate(campaign))
    await asyncio.sleep(0.02)
    await desk.node(campaign, "the next call")


async def test_a_writer_that_gets_no_turn_says_so_instead_of_waiting_for_ever(desk, monkeypatch):
    campaign = await desk.campaign()
    monkeypatch.setattr(connection, "BUSY_PATIENCE_S", 0.1)
    async with open_workspace(desk.workspace.paths.root) as other:
        async with other.transaction():
            with pytest.raises(DatabaseBusy, match="other processes held it"):
                await desk.node(campaign)
        assert await desk.node(campaign) == 1


PREAMBLE = """
import asyncio, sys
from pathlib import Path
from asi_evolve.database import experiments, nodes
from asi_evolve.database.workspace import open_workspace

async def add(workspace, campaign, name):
    async with workspace.transaction() as tx:
        new = nodes.NewNode(campaign, name, f"motivation of {name}", {"a.py": name * 800}, name)
        number = await nodes.add(tx, new)
        await experiments.enqueue(tx, campaign_id=campaign, node_id=number, stage="explore", seeds=[0])
    print(number, flush=True)

async def main(root, campaign, who, count):
    async with open_workspace(Path(root)) as workspace:
        print("ready", flush=True)
        sys.stdin.readline()
        for position in range(int(count)):
            await add(workspace, int(campaign), f"{who}-{position}")

asyncio.run(main(*sys.argv[1:]))
"""


def writer(root, campaign, who, count):
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE, root, str(campaign), str(who), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


async def test_eight_processes_that_write_at_once_lose_nothing(desk):
    campaign = await desk.campaign()
    writers = [writer(desk.workspace.paths.root, campaign, who, 25) for who in range(8)]
    for process in writers:
        go(process)
    printed = [process.communicate(timeout=120)[0].split() for process in writers]
    assert [process.returncode for process in writers] == [0] * 8
    acknowledged = sorted(int(number) for numbers in printed for number in numbers)
    assert acknowledged == list(range(1, 201))
    stored = await nodes.listed(desk.read, campaign, order="oldest", limit=1000)
    assert {node.name for node in stored} == {f"{who}-{position}" for who in range(8) for position in range(25)}
    for numbers, process_number in zip(printed, range(8), strict=True):
        names = [stored[int(number) - 1].name for number in numbers]
        assert names == [f"{process_number}-{position}" for position in range(25)]
    assert len(await experiments.unfinished(desk.read, campaign)) == 200
    await consistent(desk.workspace)


async def test_a_process_killed_while_it_writes_loses_no_acknowledged_commit(tmp_path):
    root, acknowledged = tmp_path / "workspace", []
    async with open_workspace(root) as workspace, workspace.transaction() as tx:
        campaign = await campaigns.add(
            tx,
            name="c",
            goal="",
            domain="d",
            domain_name="d",
            domain_version="1",
            instance=None,
            settings=CampaignSettings(),
        )
    for round_, commits in enumerate((1, 7, 23)):
        process = writer(root, campaign, round_, 100_000)
        go(process)
        acknowledged += [int(process.stdout.readline()) for _ in range(commits)]
        process.send_signal(signal.SIGKILL)
        # Not communicate(): it reads the pipe itself and loses the lines that readline() has taken from it already.
        acknowledged += [int(line) for line in process.stdout.read().splitlines() if re.fullmatch(r"\d+", line)]
        assert process.wait(60) == -signal.SIGKILL
        process.stdin.close()
        async with open_workspace(root) as workspace:
            stored = [node.id for node in await nodes.listed(workspace.read, campaign, order="oldest", limit=10_000)]
            # One commit more can be on disk than was acknowledged in each round, never one less.
            assert set(acknowledged) <= set(stored)
            assert len(stored) <= len(acknowledged) + round_ + 1
            counts = await row_counts(workspace.read)
            assert counts["nodes"] == counts["node_texts"] == counts["node_files"] == counts["documents"]
            assert counts["experiments"] == counts["nodes"]
            await consistent(workspace)
            found = await workspace.documents.find("motivation", "motivation", campaigns=[campaign], limit=10_000)
            assert {hit.ref_id for hit in found.hits} == set(stored)
