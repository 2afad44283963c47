"""`serve` over HTTP: both protocol eras, on loopback for everybody here, else for those who hold the token."""

import socket
import subprocess

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from .conftest import COMMAND, cli, environment, http_server

TOKEN = "0123456789abcdef0123456789abcdef"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with http_server(tmp_path_factory.mktemp("open") / "w") as address:
        yield address


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    root = tmp_path_factory.mktemp("guarded") / "w"
    with http_server(root, ASI_EVOLVE_HTTP_TOKEN=TOKEN, ASI_EVOLVE_HTTP_ALLOWED_HOSTS="box.lan:8321, other") as address:
        yield address


def post(address, **headers):
    return httpx2.post(address, json=INITIALIZE, headers=HEADERS | {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_either_era_is_served(address, mode):
    async with Client(address, mode=mode) as client:
        assert len((await client.list_tools()).tools) == 16
        assert "next" in (await client.call_tool("list_domains", {})).structured_content
        assert (await client.call_tool("get_node", {"node": "n1"})).is_error
        assert "construct_packing" in (await client.read_resource("evolve://domains/circle_packing")).contents[0].text


def test_the_server_listens_on_loopback_unless_told_otherwise(address):
    assert address.startswith("http://127.0.0.1:")
    assert address.endswith("/mcp")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "localhost.evil"])
def test_a_foreign_host_header_is_refused(address, host):
    assert post(address, Host=host).status_code in (403, 421)


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null"])
def test_a_page_of_another_origin_is_refused(address, origin):
    assert post(address, Origin=origin).status_code == 403


def test_our_own_host_and_origin_are_served(address):
    port = address.split(":")[2].split("/")[0]
    assert post(address).status_code == 200
    assert post(address, Host=f"localhost:{port}", Origin=f"http://localhost:{port}").status_code == 200


@pytest.mark.parametrize(
    "given",
    [None, "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", f"bearer{TOKEN}"],
)
def test_without_the_right_token_nobody_is_served(guarded, given):
    answer = post(guarded, **({} if given is None else {"Authorization": given}))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_with_the_token_a_client_is_served(guarded, mode):
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as http,
        Client(streamable_http_client(guarded, http_client=http), mode=mode) as client,
    ):
        assert (await client.call_tool("campaign_status", {})).structured_content["campaigns"] == []


def test_names_that_were_allowed_are_served_and_others_are_not(guarded):
    token = f"Bearer {TOKEN}"
    assert post(guarded, Authorization=token, Host="box.lan:8321").status_code == 200
    assert post(guarded, Authorization=token, Host="other").status_code == 200
    assert post(guarded, Authorization=token, Host="box.lan:1").status_code in (403, 421)


def test_a_request_of_more_than_eight_megabytes_is_refused(address):
    answer = httpx2.post(address, content=b" " * (9 * 1024 * 1024), headers=HEADERS, timeout=30)
    assert answer.status_code == 413


def test_a_port_that_is_taken_ends_the_server_with_a_word_about_it(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = cli("serve", "--transport", "http", "--port", taken.getsockname()[1], "--workspace", tmp_path)
    assert ended.returncode not in (0, None)
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_ends_when_it_is_told_to(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "serve", "--transport", "http", "--port", "0", "--workspace", str(tmp_path)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "listens on" in process.stderr.readline()
    process.terminate()
    _, rest = process.communicate(timeout=15)
    assert "Traceback" not in rest
