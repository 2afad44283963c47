"""The command line and the server in processes of their own; nothing runs the Engineer."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys

import pytest
from asi_evolve.evolution.progress import Point, Progress

from ..tools.conftest import open_bench

COMMAND = [sys.executable, "-I", "-m", "asi_evolve.server.cli"]


def environment(**settings):
    """Ours without the settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ASI_EVOLVE_")} | settings


def cli(*arguments, **settings):
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextlib.contextmanager
def http_server(root, **settings):
    """A server on a free port; its address."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--transport", "http", "--port", "0", "--workspace", str(root)],
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if match := re.search(r"listens on (http://\S+)", line):
                yield match[1]
                return
        raise AssertionError(f"the server ended before it listened: {''.join(said)}")
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


async def _one_campaign(root):
    async with open_bench(root) as bench:
        campaign = await bench.campaign(name="first try")
        told = {
            "logs": {"stdout": "printed", "stderr": "wailed"},
            "progress": Progress((Point(1.0, 3.0, 0.5, {"loss": 1.25}),), 1),
        }
        node = await bench.node(campaign, 2.0, parents=["n1"], inspired_by=["k1"], told=told)
        await bench.call("record_analysis", node=node, report="the report", lessons=["the lesson"], tags=["a-tag"])


@pytest.fixture(scope="module")
def workspace_of_one_campaign(tmp_path_factory):
    """A folder with campaign c1, nodes n1 (scored 1) and n2 (scored 2, analysed); nobody has it open."""
    root = tmp_path_factory.mktemp("one") / "workspace"
    asyncio.run(_one_campaign(root))
    return root
