"""Five hundred experiments through one daemon leave nothing behind, and it does not grow."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from asi_evolve.database import experiments, nodes
from asi_evolve.database.connection import find_driver
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.cgroups import own_cgroup

from ..sandbox.engineering import add_campaign

NUMBER_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "number"
EXPERIMENTS = 500
WARM_AFTER = 60
"""Experiments until the daemon has seen all that it will ever load."""


async def order(root):
    """A queue of programs that take a tenth of a second each."""
    async with open_workspace(root) as workspace, workspace.transaction() as tx:
        campaign = await add_campaign(tx, NUMBER_DOMAIN)
        for number in range(EXPERIMENTS):
            program = f"import time\ndef number(seed):\n    time.sleep(0.1)\n    return {number % 5}.0\n"
            node = await nodes.add(tx, nodes.NewNode(campaign, "n", "m", {"number.py": program}, f"{number}"))
            await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=[0])


def outcomes(root):
    """Of what has finished."""
    database = find_driver().connect(root / "evolve.db")
    try:
        return [row[0] for row in database.execute("SELECT outcome FROM experiments WHERE status = 'finished'")]
    finally:
        database.close()


@pytest.mark.slow
def test_nothing_is_left_and_nothing_grows(tmp_path):
    root = tmp_path / "workspace"
    asyncio.run(order(root))
    temporary = tmp_path / "tmp"  # its own, since other tests run beside this one
    temporary.mkdir()
    group = own_cgroup()
    groups = set(group.glob("*/")) if group is not None else set()
    command = [sys.executable, "-m", "asi_evolve.server.cli", "engineer", "--workspace", str(root)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen([*command, "--cpu-slots", "2", "--idle-seconds", "3"], env=environment) as process:
        daemon = psutil.Process(process.pid)
        early = None
        give_up = time.monotonic() + 1500
        while process.poll() is None:
            assert time.monotonic() < give_up
            time.sleep(1.0)
            done = outcomes(root)
            if early is None and len(done) >= WARM_AFTER:
                early = (daemon.memory_info().rss, daemon.num_fds(), children(daemon))
            if len(done) < EXPERIMENTS and process.poll() is None:
                late = (daemon.memory_info().rss, daemon.num_fds(), children(daemon))
    assert outcomes(root) == [Outcome.SCORED] * EXPERIMENTS
    print(f"\nRSS {early[0] / 1e6:.1f} -> {late[0] / 1e6:.1f} MB, descriptors {early[1]} -> {late[1]}")
    assert late[0] < 1.1 * early[0]
    assert abs(late[1] - early[1]) <= 6  # those of a job that is being started
    assert late[2] <= 12
    assert list((root / "jobs").iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert [pid for pid in psutil.pids() if _is_ours(pid, root)] == []
    assert (set(group.glob("*/")) if group is not None else set()) <= groups


def children(process):
    return len(process.children(recursive=True))


def _is_ours(pid, root):
    try:
        return pid != os.getpid() and str(root) in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
