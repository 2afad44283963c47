"""Search by meaning in a server of its own: what finds is told, a failing embedder fails no search, no key gets out."""

import contextlib
import json
import shutil

import anyio
import pytest
from asi_evolve.database.search.embedders import weights
from asi_evolve.server.cli import main
from asi_evolve.server.installation import embedder
from asi_evolve.server.settings import Settings
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from ..database.embedders.conftest import endpoint, machine, published  # noqa: F401 -- fixtures
from .conftest import COMMAND, environment

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def served(workspace_of_one_campaign, tmp_path):
    """Opens a client of a server on a copy of the workspace; the server logs all it can."""
    shutil.copytree(workspace_of_one_campaign, tmp_path / "workspace")

    @contextlib.asynccontextmanager
    async def serve(**settings):
        variables = environment(ASI_EVOLVE_HOME=str(tmp_path / "workspace"), ASI_EVOLVE_LOG_LEVEL="DEBUG", **settings)
        parameters = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "serve"], env=variables)
        with (tmp_path / "log").open("w") as log:
            async with Client(stdio_client(parameters, errlog=log)) as client:
                yield client

    return serve


async def found(client, query, method):
    """The answer to a search, once it was found by the given method: an embedder may load in the background."""
    with anyio.fail_after(30):
        while True:
            asked = {"campaign": "c1", "query": query, "threshold": -1}
            result = await client.call_tool("search_cognition", asked)
            assert not result.is_error, result.content
            if result.structured_content["method"].startswith(method):
                return result.structured_content
            await anyio.sleep(0.1)


@pytest.mark.anyio
async def test_minilm_finds_what_no_word_says(served, published):  # noqa: F811
    async with served(ASI_EVOLVE_EMBEDDER_WEIGHTS=str(published)) as client:
        item = {"title": "Gradient clipping", "body": "Bounds the norm of updates.", "source": "own observation"}
        added = await client.call_tool("add_cognition", {"campaign": "c1", "items": [item]})
        (number,) = added.structured_content["added"]
        query = "training blew up, how do I keep steps small?"
        answer = await found(client, query, "minilm/all-MiniLM-L6-v2@1110a243")
        assert number in [item["id"] for item in answer["items"]]


@pytest.mark.anyio
async def test_what_nobody_tried_is_not_found_among_the_nodes(served, published):  # noqa: F811
    async with served(ASI_EVOLVE_EMBEDDER_WEIGHTS=str(published)) as client:
        await found(client, "anything", "minilm")
        for query, there in (("the program that the search begins with", True), ("banana bread recipe", False)):
            result = await client.call_tool("search_nodes", {"campaign": "c1", "query": query})
            assert result.structured_content["method"].startswith("minilm")
            assert bool(result.structured_content["nodes"]) is there, query


@pytest.mark.anyio
async def test_an_endpoint_finds_and_the_key_is_told_to_it_alone(served, endpoint, tmp_path):  # noqa: F811
    def as_it_pleases(request):
        data = [{"index": i, "embedding": [1.0, float(i)]} for i in range(len(request["input"]))]
        return (200, {"X-Key": KEY}, json.dumps({"data": data}).encode())

    endpoint.answers = [as_it_pleases]
    settings = {"URL": endpoint.url, "MODEL": "m", "API_KEY": KEY}
    async with served(**{f"ASI_EVOLVE_EMBEDDER_{name}": value for name, value in settings.items()}) as client:
        answer = await found(client, "anything", f"openai/m@{endpoint.host}/2")
        assert KEY not in json.dumps(answer)
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in endpoint.headers)
    log = (tmp_path / "log").read_text()
    assert "DEBUG" in log
    assert KEY not in log


def finding(tmp_path, **settings):
    return embedder(Settings(home=tmp_path, **settings))


def test_the_doctor_says_from_where_the_weights_come(tmp_path, published):  # noqa: F811
    told = finding(tmp_path, embedder_weights=published)
    assert told.state == "ok"
    assert told.text.startswith("minilm/all-MiniLM-L6-v2@1110a243: weights from")
    assert str(published) in told.text
    assert "SHA-256 as published" in told.text


def test_the_doctor_says_when_there_are_no_weights_and_how_to_get_them(tmp_path, machine):  # noqa: F811
    told = finding(tmp_path)
    assert (told.state, told.text.split(":")[0]) == ("optional", "lexical")
    assert told.remedy == weights.REMEDY
    told = finding(tmp_path, embedder="minilm")
    assert (told.state, str(weights.own_cache()) in told.text) == ("warning", True)
    assert finding(tmp_path, embedder="lexical").state == "ok"


def test_the_doctor_says_which_weights_are_wrong(tmp_path, monkeypatch, capsys):
    for file in weights.FILES:
        (tmp_path / file.name).write_bytes(b"something else")
    monkeypatch.setenv("ASI_EVOLVE_EMBEDDER_WEIGHTS", str(tmp_path))
    main(["doctor", "--json", "--workspace", str(tmp_path / "home")])
    (line,) = [line for line in json.loads(capsys.readouterr().out) if line["subject"] == "embedder"]
    assert line["state"] == "warning"
    assert f"{tmp_path / 'model.safetensors'} to have 90868376 bytes, but it has 14" in line["text"]
    assert line["remedy"] == weights.REMEDY


def test_the_doctor_asks_an_endpoint(tmp_path, endpoint):  # noqa: F811
    at = {"embedder_url": endpoint.url, "embedder_model": "m"}
    told = finding(tmp_path, **at)
    assert (told.state, told.text) == ("ok", f"openai/m@{endpoint.host}/4: {endpoint.url}/embeddings")
    told = finding(tmp_path, **at, embedder_api_key=KEY)
    assert (told.state, "the key goes there in clear" in told.text) == ("warning", True)
    endpoint.answers = [(401, {}, KEY.encode())]
    told = finding(tmp_path, **at, embedder_api_key=KEY)
    assert (told.state, "ASI_EVOLVE_EMBEDDER_API_KEY" in told.text, KEY in told.text) == ("warning", True, False)
