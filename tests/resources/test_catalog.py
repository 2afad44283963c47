"""Resources: every address, what is said of one that leads nowhere, and that a path never leaves its node."""

import base64
import json

import pytest
from asi_evolve.database.experiments import StoredFile
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.evolution.progress import Point, Progress
from mcp import MCPError

from ..tools.conftest import NUMBER_DOMAIN, open_bench, program, running

pytestmark = pytest.mark.anyio

ADDRESSES = {
    "evolve://campaigns",
    "evolve://campaigns/{id}",
    "evolve://campaigns/{id}/provenance",
    "evolve://nodes/{id}",
    "evolve://nodes/{id}/files/{+path}",
    "evolve://nodes/{id}/artifacts/{+name}",
    "evolve://experiments/{id}/log",
    "evolve://experiments/{id}/progress",
    "evolve://domains/{name}",
}
INVALID_PARAMS = -32602


async def read(bench, address):
    (content,) = (await bench.client.read_resource(address, cache_mode="bypass")).contents
    return content


async def refused(bench, address):
    with pytest.raises(MCPError) as caught:
        await read(bench, address)
    assert caught.value.code == INVALID_PARAMS
    return str(caught.value)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_addresses_are_these_and_no_others(tmp_path, mode):
    async with open_bench(tmp_path, mode) as bench:
        fixed = {str(entry.uri): entry for entry in (await bench.client.list_resources()).resources}
        templates = (await bench.client.list_resource_templates()).resource_templates
        assert {*fixed, *(entry.uri_template for entry in templates)} == ADDRESSES
        assert all(entry.title and entry.description for entry in [*fixed.values(), *templates])


async def test_the_list_of_campaigns_is_json(bench, campaign):
    content = await read(bench, "evolve://campaigns")
    assert content.mime_type == "application/json"
    assert json.loads(content.text)["campaigns"][0]["campaign"] == "c1"


async def test_a_campaign_reads_as_its_status_in_full(bench, campaign):
    shown = json.loads((await read(bench, "evolve://campaigns/c1")).text)
    status = await bench.call("campaign_status", campaign=campaign, detail="full")
    for fields in (shown, status):
        del fields["used"]["wall_seconds"]
    assert shown == status


async def test_a_node_reads_as_get_node_tells_it(bench, campaign):
    assert json.loads((await read(bench, "evolve://nodes/n1")).text) == await bench.call("get_node", node="n1")


async def test_a_file_of_a_node_is_its_whole_text(bench, campaign):
    code = program(2.0) + "# a remark äöü 🦀\n" * 2000
    node = await bench.node(campaign, 2.0, code=code)
    content = await read(bench, f"evolve://nodes/{node}/files/number.py")
    assert (content.text, content.mime_type) == (code, "text/plain")


async def test_a_file_in_a_folder_has_a_longer_address(bench):
    campaign = await bench.campaign(domain="circle_packing")
    files = {"packing.py": "def construct_packing(): ...\n", "layouts/ring.py": "n = 26\n"}
    queued = await bench.queue(campaign, files=files)
    assert (await read(bench, f"evolve://nodes/{queued['node']}/files/layouts/ring.py")).text == "n = 26\n"


async def test_artifacts_of_the_latest_run_are_text_or_bytes_by_their_type(bench, campaign):
    store = (await bench.workspace()).artifacts
    kept = [
        ("drawing.svg", "image/svg+xml", b"<svg>\xc3\xa4</svg>"),
        ("outputs.npz", "application/octet-stream", b"\xff\0"),
        ("table.json", "application/json", b'{"a": 1}'),
    ]
    files = [StoredFile(name, mime, store.put(data), len(data)) for name, mime, data in kept]
    node = await bench.node(campaign, 2.0, told={"artifacts": files})
    drawing = await read(bench, f"evolve://nodes/{node}/artifacts/drawing.svg")
    assert (drawing.text, drawing.mime_type) == ("<svg>ä</svg>", "image/svg+xml")
    table = await read(bench, f"evolve://nodes/{node}/artifacts/table.json")
    assert (table.text, table.mime_type) == ('{"a": 1}', "application/json")
    outputs = await read(bench, f"evolve://nodes/{node}/artifacts/outputs.npz")
    assert (base64.b64decode(outputs.blob), outputs.mime_type) == (b"\xff\0", "application/octet-stream")
    shown = await bench.call("get_node", node=node)
    assert [file["name"] for file in shown["artifacts"]] == ["drawing.svg", "outputs.npz", "table.json"]


async def test_the_log_of_an_experiment_has_every_stream(bench, campaign):
    await bench.node(campaign, 2.0, Outcome.CANDIDATE_ERROR, {"logs": {"stdout": "said", "stderr": "wailed"}})
    text = (await read(bench, "evolve://experiments/e2/log")).text
    assert "== explore, seed 0: stdout\nsaid" in text
    assert "== explore, seed 0: stderr\nwailed" in text
    assert (await read(bench, "evolve://experiments/e1/log")).text == "e1 has printed nothing (finished)."


async def test_the_progress_of_an_experiment_is_every_point_that_is_kept(bench, campaign):
    points = tuple(Point(float(n), float(n), n / 400, {"loss": 1 / (n + 1)}) for n in range(400))
    told = Progress((*points, Point(400.0, 400.0, 1.0, {}, ("loss",))), 401, 2, 0, ("Rule x was not applied.",))
    await bench.node(campaign, 2.0, told={"progress": told})
    content = await read(bench, "evolve://experiments/e2/progress")
    assert content.mime_type == "application/json"
    (run,) = json.loads(content.text)["runs"]
    assert (run["stage"], run["seed"], run["lines"], run["broken_lines"]) == ("explore", 0, 401, 2)
    assert run["notes"] == ["Rule x was not applied."]
    assert run["columns"] == ["percent", "loss"]
    assert len(run["rows"]) == 401
    assert (run["rows"][0], run["rows"][-1]) == ([0.0, 1.0], [100.0, "not finite"])
    assert len(content.text) < 10_000
    assert json.loads((await read(bench, "evolve://experiments/e1/progress")).text)["runs"] == []


async def test_the_progress_of_a_running_experiment_says_where_it_is(bench, campaign):
    await bench.queue(campaign, 2.0)
    await running(await bench.workspace(), 2, Point(1.0, 680.0, 0.34, {"loss": 1.93}))
    shown = json.loads((await read(bench, "evolve://experiments/e2/progress")).text)
    assert (shown["status"], shown["progress"]) == ("running", "seed 0: 34 %, step 680, loss 1.93")


async def test_a_domain_reads_as_its_brief(bench):
    content = await read(bench, "evolve://domains/circle_packing")
    assert content.mime_type == "text/markdown"
    assert "construct_packing" in content.text
    assert not bench.laboratory.is_open, "a brief needs no workspace"


LEADS_NOWHERE = {
    "evolve://campaigns/c9": ["no c9", "c1"],
    "evolve://campaigns/c9/provenance": ["no c9", "c1"],
    "evolve://nodes/n9": ["no n9", "search_nodes"],
    "evolve://nodes/n9/files/number.py": ["no n9"],
    "evolve://nodes/n1/files/moon.py": ["'moon.py'", "number.py"],
    "evolve://nodes/n1/artifacts/moon.svg": ["'moon.svg'", "it has none"],
    "evolve://experiments/e9/log": ["no e9", "campaign_status"],
    "evolve://experiments/e9/progress": ["no e9", "campaign_status"],
    "evolve://domains/moon": ["'moon'", "circle_packing"],
    "evolve://moon": ["Unknown resource"],
}


@pytest.mark.parametrize("address", LEADS_NOWHERE)
async def test_an_address_that_leads_nowhere_says_what_exists(bench, campaign, address):
    text = await refused(bench, address)
    assert [word for word in LEADS_NOWHERE[address] if word not in text] == [], text


WRONG = {
    "evolve://campaigns/n1": "id of a campaign",
    "evolve://nodes/moon": "Expected an id such as",
    "evolve://nodes/e1/files/number.py": "id of a node",
    "evolve://experiments/n1/log": "experiment",
    "evolve://experiments/n1/progress": "experiment",
}


@pytest.mark.parametrize("address", WRONG)
async def test_an_id_of_the_wrong_kind_is_told_apart(bench, campaign, address):
    with pytest.raises(MCPError) as caught:
        await read(bench, address)
    assert WRONG[address] in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "..%2F..%2Fetc%2Fpasswd",
        "%2Fetc%2Fpasswd",
        "/etc/passwd",
        "a/../../number.py",
        "%2e%2e/evolve.db",
        "number.py%00",
        "..\\evolve.db",
    ],
)
@pytest.mark.parametrize("part", ["files", "artifacts"])
async def test_a_path_never_leaves_its_node(bench, campaign, part, path):
    text = await refused(bench, f"evolve://nodes/n1/{part}/{path}")
    assert "root:" not in text
    assert "Unknown resource" in text or "Expected" in text


async def test_a_broken_domain_folder_is_not_read_through_the_address_of_a_domain(bench):
    with pytest.raises(MCPError):
        await read(bench, f"evolve://domains/{NUMBER_DOMAIN}")
