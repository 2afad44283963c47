"""`serve` over stdio: quick to start, only the protocol on stdout, and nothing heavy before it is asked for."""

import json
import subprocess
import sys

import pytest
from mcp import Client, StdioServerParameters

from ..tools.conftest import NUMBER_DOMAIN
from .conftest import COMMAND, environment

HEAVY = {"torch", "scipy", "numpy", "rich", "yaml", "sqlite_vec", "pysqlite3", "tokenizers", "safetensors"}
STARTED = """
import sys
from pathlib import Path
from asi_evolve.server import app, cli, serve, settings
from asi_evolve.database.search.embedders.choice import make_embedder
from asi_evolve.tools.laboratory import Laboratory
chosen = settings.Settings(home="/nowhere", embedder="minilm")
embedder = make_embedder(chosen.embedder_options())
app.build_server(Laboratory(Path("/nowhere"), ["true"], embedder=embedder), chosen)
print(*sorted({name.split(".")[0] for name, module in sys.modules.items() if module is not None}))
"""


def test_a_server_starts_without_anything_heavy():
    done = subprocess.run(
        [sys.executable, "-I", "-c", STARTED], env=environment(), capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert {"mcp", "asi_evolve"} <= loaded
    assert HEAVY & loaded == set()


def message(number, method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


HANDSHAKE = [
    message(
        1, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "test", "version": "1"}
    ),
    json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
]


def converse(root, *lines, **settings):
    """Feed lines to a server one answer at a time, hang up, and return its answers by id, its stdout and its stderr."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--workspace", str(root)],
        env=environment(**settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said = b""
    try:
        for line in (line if isinstance(line, bytes) else line.encode() for line in lines):
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            if b'"id"' in line:
                said += process.stdout.readline()
        out, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode == 0, err.decode()
    answers = [json.loads(line) for line in (said + out).decode().splitlines()]
    return {answer.get("id"): answer for answer in answers}, said + out, err.decode()


def call(number, tool, **arguments):
    return message(number, "tools/call", name=tool, arguments=arguments)


def test_stdout_carries_only_json_lines_also_when_everything_is_logged(tmp_path):
    answers, out, err = converse(
        tmp_path,
        *HANDSHAKE,
        call(2, "list_domains"),
        call(3, "get_node", node="n1"),
        message(4, "resources/read", uri="evolve://nodes/n1"),
        call(5, "run_experiment", campaign=3),
        ASI_EVOLVE_LOG_LEVEL="DEBUG",
    )
    assert set(answers) == {1, 2, 3, 4, 5}
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in out.decode().splitlines())
    assert "DEBUG" in err, "the log is on stderr"
    assert answers[1]["result"]["instructions"].startswith("Evolve programs by experiment")
    assert answers[3]["result"]["isError"]


def test_numbers_that_json_does_not_have_are_refused(tmp_path):
    wait = call(2, "wait_experiment", experiments=["e1"], wait_s=0)
    budget = call(3, "start_campaign", domain=NUMBER_DOMAIN, budget={"cpu_seconds": 0})
    answers, _, _ = converse(
        tmp_path,
        *HANDSHAKE,
        wait.replace('"wait_s": 0', '"wait_s": NaN'),
        budget.replace('"cpu_seconds": 0', '"cpu_seconds": Infinity'),
        call(4, "campaign_status"),
    )
    for number, name in ((2, "wait_s"), (3, "cpu_seconds")):
        answer = answers[number]
        assert "error" in answer or (answer["result"]["isError"] and name in answer["result"]["content"][0]["text"])
    assert answers[4]["result"]["structuredContent"]["campaigns"] == []


def test_noise_on_stdin_does_not_end_the_server(tmp_path):
    noise = [b"not json", b"{}", b"\xff\xfe", b"[]", b"null", b""]
    answers, _, _ = converse(tmp_path, *HANDSHAKE, *noise, call(2, "campaign_status"))
    assert {1, 2} <= set(answers)
    assert not any("result" not in answer for number, answer in answers.items() if number in (1, 2))


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_either_era_is_served(tmp_path, mode):
    server = StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], "serve"], env=environment(ASI_EVOLVE_HOME=str(tmp_path / "w"))
    )
    async with Client(server, mode=mode) as client:
        assert len((await client.list_tools()).tools) == 16
        assert (await client.call_tool("campaign_status", {})).structured_content["campaigns"] == []
        assert (tmp_path / "w" / "evolve.db").exists()
