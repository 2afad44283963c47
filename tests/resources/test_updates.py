"""Resource updates: a subscriber hears of a change whichever process made it."""

import anyio
import pytest
from asi_evolve.database import events
from asi_evolve.database.workspace import open_workspace
from asi_evolve.resources.updates import addresses, publish_updates

from ..tools.conftest import open_bench, settle
from ..tools.test_judgement import ESSAY_DOMAIN

pytestmark = pytest.mark.anyio


@pytest.fixture
async def published(bench, monkeypatch):
    """A bench whose server publishes, as `serve` has it."""
    monkeypatch.setattr("asi_evolve.resources.updates.POLL_S", 0.02)
    async with anyio.create_task_group() as group:
        group.start_soon(publish_updates, bench.laboratory, bench.bus)
        yield bench
        group.cancel_scope.cancel()


async def heard(subscription, wanted):
    """Every address that is announced until the last wanted one."""
    found = set()
    with anyio.fail_after(20):
        async for event in subscription:
            found.add(str(event.uri))
            if wanted <= found:
                return found
    raise AssertionError(f"the stream ended after {found}")


async def test_an_experiment_that_another_process_finishes_is_announced(published):
    campaign = await published.campaign()
    queued = await published.queue(campaign, 2.0)
    wanted = {
        "evolve://campaigns",
        "evolve://campaigns/c1",
        "evolve://campaigns/c1/provenance",
        f"evolve://nodes/{queued['node']}",
        f"evolve://experiments/{queued['experiment']}/log",
        f"evolve://experiments/{queued['experiment']}/progress",
    }
    async with published.client.listen(resource_subscriptions=sorted(wanted)) as subscription:
        async with open_workspace(published.root) as other:
            await settle(other, int(queued["experiment"][1:]), score=2.0)
        await heard(subscription, wanted)
        shown = await published.client.read_resource(f"evolve://nodes/{queued['node']}")
        assert '"score": 2.0' in shown.contents[0].text, "what is read after the announcement is new"


async def test_only_what_was_asked_for_is_announced(published):
    campaign = await published.campaign()
    first, second = await published.queue(campaign, 2.0), await published.queue(campaign, 3.0)
    wanted = f"evolve://nodes/{second['node']}"
    async with published.client.listen(resource_subscriptions=[wanted]) as subscription:
        for queued in (first, second):
            await published.settle(queued["experiment"], score=2.0)
        assert await heard(subscription, {wanted}) == {wanted}


async def test_an_analysis_and_a_change_of_settings_are_announced(published):
    campaign = await published.campaign()
    node = await published.node(campaign, 2.0)
    async with published.client.listen(resource_subscriptions=[f"evolve://nodes/{node}"]) as subscription:
        await published.call("record_analysis", node=node, report="r")
        await heard(subscription, {f"evolve://nodes/{node}"})
    async with published.client.listen(resource_subscriptions=["evolve://campaigns/c1"]) as subscription:
        await published.call("update_campaign", campaign=campaign, seeds=3)
        await heard(subscription, {"evolve://campaigns/c1"})


async def test_a_judgement_changes_every_address_that_shows_the_score(bench):
    await bench.campaign(domain=ESSAY_DOMAIN, score=4.0)
    reader = (await bench.workspace()).read
    before = (await events.after(reader, 0))[-1].id
    await bench.call("record_judgement", node="n1", marks={"clarity": 5, "depth": 5})
    (judged,) = await events.after(reader, before)
    assert set(addresses(judged)) == {"evolve://campaigns", "evolve://campaigns/c1", "evolve://nodes/n1"}


async def test_nothing_is_opened_before_somebody_needs_the_workspace(published):
    await anyio.sleep(0.2)
    assert not published.laboratory.is_open


async def test_a_client_that_only_listens_hears_of_what_other_processes_do(published):
    async with published.client.listen(resource_subscriptions=["evolve://campaigns"]) as subscription:
        async with open_bench(published.root) as other:
            await other.campaign()
        await heard(subscription, {"evolve://campaigns"})
