"""A real server in a process of its own, and a real client; the daemon ends with the test."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from asi_evolve.database.workspace import WorkspacePaths
from asi_evolve.evolution.errors import SandboxUnavailable
from asi_evolve.sandbox.daemon_lock import daemon_about
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.isolation.choice import find_isolation
from mcp import Client, StdioServerParameters

from ..waiting import until

NUMBER_DOMAIN = str(Path(__file__).parent.parent / "domain_folders" / "number")


def pytest_collection_modifyitems(items):
    try:
        find_isolation(describe_interpreter(sys.executable, ()))
    except SandboxUnavailable as error:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=f"no sandbox on this machine: {error}"))


class Lab:
    """A workspace with servers on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = WorkspacePaths(root)

    def stdio(self, **settings: str) -> StdioServerParameters:
        return StdioServerParameters(
            command=sys.executable,
            args=["-I", "-m", "asi_evolve.server.cli", "serve", "--workspace", str(self.root)],
            env={"ASI_EVOLVE_IDLE_SECONDS": "30"} | settings,
        )

    @contextlib.contextmanager
    def http(self, **settings: str):
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "asi_evolve.server.cli", "serve", "--transport", "http", "--port", "0"],
            env=os.environ | {"ASI_EVOLVE_HOME": str(self.root), "ASI_EVOLVE_IDLE_SECONDS": "30"} | settings,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            for line in process.stderr:
                if match := re.search(r"listens on (http\S+)", line):
                    yield match[1]
                    return
            raise AssertionError("the server ended before it listened")
        finally:
            process.terminate()
            process.wait(10)
            process.stderr.close()

    def daemon_pid(self) -> int | None:
        about = daemon_about(self.paths)
        return about["pid"] if about else None

    def close(self) -> None:
        pid = self.daemon_pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            until(lambda: self.daemon_pid() is None)


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path / "workspace")
    yield lab
    lab.close()


async def call(client: Client, tool: str, **arguments):
    """A tool's structured answer; fails where the tool does."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content[0].text
    return result.structured_content


async def begin(client: Client, **arguments):
    """A campaign on the number domain whose baseline has scored."""
    started = await call(client, "start_campaign", domain=NUMBER_DOMAIN, **arguments)
    result = await call(client, "wait_experiment", experiments=[started["baseline"]["experiment"]], wait_s=40)
    assert result["outcome"] == "scored", result
    return started["campaign"]


def program(value, *, before="", inside=""):
    """A candidate that returns a value."""
    return f"import os, time\n{before}\ndef number(seed):\n    {inside or 'pass'}\n    return {value}\n"
