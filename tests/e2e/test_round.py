"""One whole round through a real client, over each transport and in each protocol era."""

import asyncio

import pytest
from mcp import Client

from .conftest import begin, call, program

FORGERY = "open('/job/out/number.json', 'w').write('99'); os._exit(1)"


async def one_round(client: Client):
    campaign = await begin(client)
    sample = await call(client, "sample_nodes", campaign=campaign)
    assert sample["parent"]["id"] == "n1"
    assert "number.py" in sample["parent"]["files"]
    knowledge = await call(client, "search_cognition", campaign=campaign, query="how do I get a larger score?")
    source = knowledge["items"][0]["id"]
    result = await call(
        client,
        "run_experiment",
        campaign=campaign,
        name="larger",
        motivation="A larger number scores more.",
        parents=["n1"],
        inspired_by=[source],
        edits="<<<<<<< SEARCH\n    return 1.0\n=======\n    return 42.5\n>>>>>>> REPLACE",
        wait_s=40,
    )
    assert (result["outcome"], result["score"], result["gain"]) == ("scored", 42.5, 41.5)
    recorded = await call(
        client, "record_analysis", node=result["node"], report="Went up by 41.5.", lessons=["Larger is better."]
    )
    assert recorded["lessons"] == ["l1"]
    again = await call(client, "sample_nodes", campaign=campaign)
    assert again["parent"]["id"] == result["node"], "UCB1 hands out the node that nobody has built on"
    assert again["lessons"][0]["text"] == "Larger is better."
    node = await call(client, "get_node", node=result["node"])
    assert node["inspired_by"] == [source]
    assert node["runs"][0]["metrics"] == {"value": 42.5}
    assert node["environment"]["tier"] == "bwrap"
    promoted = await call(client, "promote_node", node=result["node"], stage="verify", wait_s=40)
    assert [run["seed"] for run in promoted["runs"]] == [0, 1, 2]
    status = await call(client, "campaign_status", campaign=campaign)
    assert status["best"][0]["id"] == result["node"]
    assert status["used"]["experiments"] == 3
    log = await client.read_resource(f"evolve://experiments/{promoted['experiment']}/log")
    assert "printed nothing" in log.contents[0].text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_round_over_stdio(lab, mode):
    async def run():
        async with Client(lab.stdio(), mode=mode) as client:
            await one_round(client)

    asyncio.run(run())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_round_over_http(lab, mode):
    async def run(url):
        async with Client(url, mode=mode) as client:
            await one_round(client)

    with lab.http() as url:
        asyncio.run(run(url))


def test_what_goes_wrong_has_an_outcome_and_a_reason_and_no_score(lab):
    cases = {
        "crash": (program("1", inside="raise ValueError('my own mistake')"), "candidate_error", "my own mistake"),
        "too large": (program("101"), "invalid_output", "up to 100"),
        "not a number": (program("float('nan')"), "invalid_output", "finite"),
        "burns": (program("1", inside="\n    while True: pass"), "limit", "cpu"),
        "eats": (program("1", inside="x = bytearray(10**9); time.sleep(5)"), "limit", "memory"),
        "leaves": (program("1", inside="os._exit(3)"), "candidate_error", "3"),
        "claims": (
            program("1", inside="open('/job/out/number.json','w').write('99'); os._exit(1)"),
            "candidate_error",
            "",
        ),
    }

    async def run():
        async with Client(lab.stdio()) as client:
            campaign = await begin(client)
            handles = {}
            for name, (code, _, _) in cases.items():
                answer = await call(
                    client, "run_experiment", campaign=campaign, name=name, motivation=name, code=code, wait_s=0
                )
                handles[name] = answer["experiment"]
            for name, (_, outcome, reason) in cases.items():
                result = {"status": "queued"}
                while result["status"] != "finished":
                    result = await call(client, "wait_experiment", experiments=[handles[name]], wait_s=40)
                assert result["outcome"] == outcome, (name, result)
                assert reason in result["reason"], (name, result)
                assert "score" not in result, (name, result)
            sampled = {(await call(client, "sample_nodes", campaign=campaign))["parent"]["id"] for _ in range(3)}
            assert sampled == {"n1"}, "failed nodes are never parents"

    asyncio.run(run())


def test_cancel_ends_a_running_and_a_queued_experiment(lab):
    async def run():
        async with Client(lab.stdio(ASI_EVOLVE_CPU_SLOTS="1")) as client:
            campaign = await begin(client)
            sleeper = program("1", inside="time.sleep(50)")
            first = await call(
                client, "run_experiment", campaign=campaign, name="a", motivation="a", code=sleeper, wait_s=1
            )
            assert first["status"] == "running"
            second = await call(
                client, "run_experiment", campaign=campaign, name="b", motivation="b", code=program("2"), wait_s=0
            )
            assert second["status"] == "queued"
            for handle in (second, first):
                ended = await call(client, "cancel_experiment", experiment=handle["experiment"])
                assert ended["outcome"] == "cancelled"
            again = await call(client, "promote_node", node=second["node"], wait_s=40)
            assert again["score"] == 2.0, "a cancelled node can be run again"

    asyncio.run(run())
