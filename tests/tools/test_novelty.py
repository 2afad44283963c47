"""A candidate that the campaign has already, or nearly: what the agent is told, and what the campaign refuses."""

import time
from contextlib import AsyncExitStack

import anyio
import pytest
from asi_evolve.database import campaigns, nodes, outlines
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.novelty.fingerprint import fingerprint
from asi_evolve.evolution.novelty.likeness import Profile
from asi_evolve.evolution.novelty.outline import outline_of
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.tools import novelty
from asi_evolve.tools.candidates import Candidate

from .conftest import NUMBER_DOMAIN, open_bench, running

pytestmark = pytest.mark.anyio

SEARCH = """\
import math

STEPS = 100


def number(seed: int) -> float:
    value = start(seed)
    for step in range(STEPS):
        value = climb(value, 1 / (step + 1))
    return value


def start(seed):
    return math.sin(seed)


def climb(value, width):
    moved = value + width * math.cos(value)
    return moved if abs(moved) > abs(value) else value
"""
TUNED = SEARCH.replace("STEPS = 100", "STEPS = 200")
RENAMED = SEARCH.replace("moved", "tried").replace("climb", "ascend").replace("STEPS", "ROUNDS")
STEP = SEARCH.replace("math.cos(value)", "math.exp(-value)")
OTHER = "def number(seed: int) -> float:\n    return sum(divmod(seed, 7)) ** 0.5\n"


async def order(bench, campaign, code, name="a search", motivation="Climb in small steps.", **more):
    return await bench.queue(campaign, code=code, name=name, motivation=motivation, **more)


async def refusal(bench, campaign, code):
    return await bench.refusal(
        "run_experiment", campaign=campaign, name="again", motivation="Something else.", code=code, wait_s=0
    )


@pytest.fixture
def policy(bench):
    async def begin(name=None):
        options = {"options": {"novelty": name}} if name else {}
        return await bench.campaign(**options)

    return begin


async def test_a_new_program_is_run_without_a_word(bench, campaign):
    await order(bench, campaign, SEARCH)
    assert "novelty" not in await order(bench, campaign, OTHER)
    assert "novelty" not in await order(bench, campaign, STEP, motivation="The exponential does not turn around.")


async def test_a_tuned_program_is_run_and_told_what_became_of_the_first(bench, campaign):
    first = await order(bench, campaign, SEARCH)
    await bench.settle(first["experiment"], score=3.5)
    await bench.call("record_analysis", node=first["node"], report="It ran out of steps.")
    tuned = await order(bench, campaign, TUNED, name="longer", motivation="More steps.")
    assert tuned["status"] == "queued"
    assert tuned["novelty"]["verdict"] == "near"
    assert tuned["novelty"]["says"] == "This is nearly the program of n2, which scored 3.5."
    (closest,) = tuned["novelty"]["closest"]
    assert 0.9 < closest.pop("likeness") < 1
    assert closest == {
        "node": "n2",
        "name": "a search",
        "differs": "numbers, 100 before and 200 now",
        "score": 3.5,
        "analysis": "It ran out of steps.",
    }


@pytest.mark.parametrize("outcome", [Outcome.LIMIT, Outcome.CANDIDATE_ERROR, Outcome.INVALID_OUTPUT])
@pytest.mark.parametrize("name", ["warn", "reject", "allow"])
async def test_a_program_like_one_that_failed_is_told_how_and_may_be_the_mended_one(bench, policy, outcome, name):
    campaign = await policy(name)
    first = await order(bench, campaign, SEARCH)
    await bench.settle(first["experiment"], outcome, reason="cpu: used 5.1 of 5 s.")
    told = (await order(bench, campaign, TUNED))["novelty"]
    assert told["says"] == f"This is nearly the program of n2, which ended as {outcome}: cpu: used 5.1 of 5 s."
    assert told["closest"][0]["outcome"] == outcome
    assert told["closest"][0]["reason"] == "cpu: used 5.1 of 5 s."


@pytest.mark.parametrize("state", ["queued", "running", "cancelled"])
async def test_what_has_not_ended_is_seen_too(bench, campaign, state):
    first = await order(bench, campaign, SEARCH)
    if state == "running":
        await running(await bench.workspace(), int(first["experiment"][1:]))
    elif state == "cancelled":
        await bench.call("cancel_experiment", experiment=first["experiment"])
    (closest,) = (await order(bench, campaign, TUNED))["novelty"]["closest"]
    assert closest["node"] == first["node"]
    assert closest["outcome" if state == "cancelled" else "status"] == state


@pytest.mark.parametrize("name", [None, "warn", "reject"])
async def test_a_program_with_other_names_is_refused(bench, policy, name):
    campaign = await policy(name)
    first = await order(bench, campaign, SEARCH)
    await bench.settle(first["experiment"], score=3.5)
    text = await refusal(bench, campaign, RENAMED)
    assert "with other names, this is the program of n2 (a search), which scored 3.5" in text
    assert "promote_node(node='n2')" in text
    assert f"update_campaign(campaign='{campaign}', options={{'novelty': 'allow'}})" in text
    assert "new program" in await refusal(bench, campaign, SEARCH)


async def test_a_campaign_that_rejects_refuses_what_is_near_and_says_of_what(bench, policy):
    campaign = await policy("reject")
    first = await order(bench, campaign, SEARCH)
    await bench.settle(first["experiment"], score=3.5)
    await bench.call("record_analysis", node=first["node"], report="It ran out of steps.")
    text = await refusal(bench, campaign, TUNED)
    assert "nearly the program of n2 (a search), which scored 3.5" in text
    assert "numbers, 100 before and 200 now" in text
    assert "It ran out of steps." in text
    assert "options={'novelty': 'warn'}" in text
    await bench.call("update_campaign", campaign=campaign, options={"novelty": "warn"})
    assert (await order(bench, campaign, TUNED))["novelty"]["verdict"] == "near"


async def test_a_failure_beside_a_success_does_not_open_the_door(bench, policy):
    campaign = await policy("reject")
    first = await order(bench, campaign, SEARCH)
    await bench.settle(first["experiment"], Outcome.LIMIT, reason="cpu: used 5.1 of 5 s.")
    mended = await order(bench, campaign, SEARCH.replace("STEPS = 100", "STEPS = 50"))
    await bench.settle(mended["experiment"], score=2.0)
    text = await refusal(bench, campaign, SEARCH.replace("STEPS = 100", "STEPS = 99"))
    assert "nearly the program of n3 (a search), which scored 2" in text
    assert "n2 (" not in text


async def test_a_campaign_that_rejects_waits_for_what_runs(bench, policy):
    campaign = await policy("reject")
    await order(bench, campaign, SEARCH)
    assert "n2 (a search), which is queued" in await refusal(bench, campaign, TUNED)


@pytest.mark.parametrize(("code", "verdict"), [(SEARCH, "exact"), (RENAMED, "renamed"), (TUNED, "near")])
async def test_a_campaign_that_allows_everything_runs_it_and_says_what_it_is(bench, policy, code, verdict):
    campaign = await policy("allow")
    await order(bench, campaign, SEARCH)
    twin = await order(bench, campaign, code)
    assert twin["node"] == "n3"
    assert twin["novelty"]["verdict"] == verdict
    assert [entry["node"] for entry in twin["novelty"]["closest"]] == ["n2"]


async def test_a_small_step_for_the_same_reason_is_told_and_for_another_is_not(bench, campaign):
    await order(bench, campaign, SEARCH, motivation="Steps that shrink as one over their number settle at a maximum.")
    same = await order(
        bench, campaign, STEP, motivation="Steps that shrink as one over their number settle at a maximum!"
    )
    assert same["novelty"]["verdict"] == "near"
    assert same["novelty"]["closest"][0]["differs"].endswith("of the code")
    minus = SEARCH.replace("value + width", "value - width")
    assert "novelty" not in await order(bench, campaign, minus, motivation="Going down finds the larger modulus.")


class Topics:
    """An embedder that knows two topics."""

    fingerprint = "topics"
    dimension = 2

    async def prepare(self):
        pass

    async def encode_documents(self, texts):
        return [[1.0, 0.0] if "settle" in text or "converge" in text else [0.0, 1.0] for text in texts]

    async def encode_queries(self, texts):
        return await self.encode_documents(texts)


@pytest.mark.parametrize(("motivation", "near"), [("Iterates must converge.", True), ("Go downhill instead.", False)])
async def test_an_embedder_finds_the_same_reason_in_other_words(tmp_path, motivation, near):
    async with open_bench(tmp_path) as bench:
        await order(bench, await bench.campaign(), SEARCH, motivation="Shrinking steps settle.")
    async with open_workspace(tmp_path, Topics()) as workspace:
        chosen = await campaigns.get(workspace.read, 1)
        files = {"number.py": STEP}
        profile = Profile(outline_of(files, ("number",)))
        candidate = Candidate(files, fingerprint(files), profile, [], [], "a step", motivation)
        await workspace.documents.find("any", "motivation", campaigns=[1])
        for _ in range(100):  # texts may be embedded in the background
            seen = await novelty.search(workspace, chosen, candidate, ("number",))
            if seen.near:
                break
            await anyio.sleep(0.01)
        assert [twin.node_id for twin in seen.near] == ([2] if near else [])


async def test_the_closest_come_first_and_three_at_most(bench, campaign):
    for steps in (500, 300, 101, 400):
        await order(bench, campaign, SEARCH.replace("STEPS = 100", f"STEPS = {steps}").replace("1 /", f"{steps} /"))
    told = (await order(bench, campaign, SEARCH.replace("1 /", "101 /")))["novelty"]["closest"]
    assert len(told) == 3
    assert told[0]["node"] == "n4"
    assert [entry["likeness"] for entry in told] == sorted((entry["likeness"] for entry in told), reverse=True)


async def test_other_campaigns_do_not_count(bench, campaign):
    await order(bench, campaign, SEARCH)
    other = await bench.campaign(options={"novelty": "reject"})
    assert "novelty" not in await order(bench, other, TUNED)


async def test_the_same_key_again_is_no_duplicate(bench, policy):
    campaign = await policy("reject")
    first = await order(bench, campaign, SEARCH, idempotency_key="once")
    again = await order(bench, campaign, SEARCH, idempotency_key="once")
    assert again["experiment"] == first["experiment"]
    assert "novelty" not in again


async def test_a_candidate_near_the_baseline_is_told_so(bench):
    campaign = await bench.campaign(domain="circle_packing", score=0.9)
    line = "    return np.vstack([[(0.5, 0.5)], ring(inner, 1 / 7), ring(outer, 1 / 3)])\n"
    edits = f"<<<<<<< SEARCH\n{line}=======\n{line.replace('7', '6')}>>>>>>> REPLACE"
    queued = await bench.queue(campaign, edits=edits, parents=["n1"])
    assert queued["novelty"]["says"] == "This is nearly the program of n1, which scored 0.9."


@pytest.mark.parametrize("name", ["reject", "warn"])
@pytest.mark.parametrize("second", [SEARCH, RENAMED])
async def test_the_same_program_from_two_servers_at_once_is_stored_once(tmp_path, name, second):
    async with AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(open_bench(tmp_path / "workspace")) for _ in range(2)]
        campaign = await benches[0].campaign(options={"novelty": name})
        results = []

        async def send(bench, code):
            arguments = {"campaign": campaign, "name": "n", "motivation": "m", "code": code, "wait_s": 0}
            results.append(await bench.client.call_tool("run_experiment", arguments))

        async with anyio.create_task_group() as group:
            for place in range(8):
                group.start_soon(send, benches[place % 2], (SEARCH, second)[place % 2])
        assert sorted(result.is_error for result in results) == [False] + [True] * 7
        assert all("the program of n2" in result.content[0].text for result in results if result.is_error)
        assert await nodes.count((await benches[1].workspace()).read, 1) == 2


async def test_near_programs_from_two_servers_at_once_are_seen_by_each_other(tmp_path):
    async with AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(open_bench(tmp_path / "workspace")) for _ in range(2)]
        campaign = await benches[0].campaign(options={"novelty": "reject"})
        results = []

        async def send(bench, steps):
            code = SEARCH.replace("STEPS = 100", f"STEPS = {steps}")
            arguments = {"campaign": campaign, "name": "n", "motivation": "m", "code": code, "wait_s": 0}
            results.append(await bench.client.call_tool("run_experiment", arguments))

        async with anyio.create_task_group() as group:
            for place in range(8):
                group.start_soon(send, benches[place % 2], 100 + place)
        assert sorted(result.is_error for result in results) == [False] + [True] * 7
        assert await nodes.count((await benches[1].workspace()).read, 1) == 2


async def forget_outlines(bench):
    """As a database that an older version wrote."""
    async with (await bench.workspace()).transaction() as tx:
        for statement in (
            "UPDATE nodes SET canonical = NULL",
            "DELETE FROM node_outlines",
            "DELETE FROM node_sketches",
        ):
            await tx.execute(statement)


async def test_nodes_of_an_older_database_are_found_too(bench, campaign):
    await order(bench, campaign, SEARCH)
    await forget_outlines(bench)
    assert (await order(bench, campaign, TUNED))["novelty"]["closest"][0]["node"] == "n2"
    assert await outlines.missing((await bench.workspace()).read, 1, 10) == []
    assert "with other names" in await refusal(bench, campaign, RENAMED)


async def test_of_many_old_nodes_a_few_are_looked_at_in_each_call_the_parents_first(bench, campaign):
    for place in range(20):
        await order(bench, campaign, OTHER.replace("** 0.5", f"** 0.5 + abs({'-' * place}seed)"))
    first = await order(bench, campaign, SEARCH)
    for place in range(20):
        await order(bench, campaign, OTHER.replace("** 0.5", f"** 0.5 - abs({'-' * place}seed)"))
    await forget_outlines(bench)
    told = await order(bench, campaign, TUNED, parents=[first["node"]])
    assert told["novelty"]["closest"][0]["node"] == first["node"]
    reader = (await bench.workspace()).read
    assert len(await outlines.missing(reader, 1, 100)) == 42 - 17


async def test_an_old_parent_of_another_campaign_is_compared_and_stays_in_its_own(bench, campaign):
    first = await order(bench, campaign, SEARCH)
    other = await bench.campaign(sampler="map_elites")
    await bench.call("sample_nodes", campaign=other)
    await forget_outlines(bench)
    workspace = await bench.workspace()
    number = int(first["node"][1:])
    async with workspace.transaction() as tx:
        await tx.execute(
            "INSERT INTO islanders (campaign_id, island, node_id, place, is_home) VALUES (2, 0, ?, 2, 0)", (number,)
        )
    await order(bench, other, OTHER)  # its own nodes have their outlines now
    told = await order(bench, other, TUNED, parents=[first["node"]])
    assert told["novelty"]["closest"][0]["node"] == first["node"]
    sketch = Profile(outline_of({"number.py": SEARCH})).sketch
    assert number in await outlines.nearest(workspace.read, 1, sketch, 10)
    assert number not in await outlines.nearest(workspace.read, 2, sketch, 10)


async def test_an_old_node_that_this_python_cannot_parse_does_no_harm(bench, campaign):
    async with (await bench.workspace()).transaction() as tx:
        await nodes.add(tx, nodes.NewNode(1, "old", "m", {"number.py": "print 'python 2'"}, "f"))
    assert (await order(bench, campaign, SEARCH))["status"] == "queued"
    assert await outlines.missing((await bench.workspace()).read, 1, 10) == []


@pytest.mark.parametrize("code", ["def number(seed)\n    return 1\n", "def other():\n    pass\n", ""])
async def test_a_program_that_is_none_is_refused_as_ever(bench, campaign, code):
    await order(bench, campaign, SEARCH)
    text = await refusal(bench, campaign, code)
    assert "Expected" in text
    assert "number" in text


@pytest.mark.slow
async def test_a_program_of_twenty_megabytes_is_answered(bench, tmp_path):
    folder = tmp_path / "large"
    folder.mkdir()
    source = anyio.Path(NUMBER_DOMAIN)
    async for path in source.glob("**/*"):
        if await path.is_file() and "__pycache__" not in path.parts:
            target = folder / path.relative_to(NUMBER_DOMAIN)
            target.parent.mkdir(exist_ok=True, parents=True)
            text = (await path.read_text()).replace("[candidate]", "[candidate]\nmax_bytes = 20000000\nmax_files = 2")
            target.write_text(text)
    campaign = await bench.campaign(domain=str(folder))
    files = {"number.py": SEARCH, "table.txt": "0.25 0.5 0.75 1.0\n" * 1_000_000}
    begin = time.process_time()
    first = await bench.queue(campaign, files=files)
    assert first["status"] == "queued"
    files["table.txt"] += "2.0\n"
    assert "novelty" not in await bench.queue(campaign, files=files)
    assert time.process_time() - begin < 120, "a hang, not a measurement"
