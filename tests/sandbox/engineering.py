"""A daemon in this process, and experiments for it."""

import asyncio
import contextlib
import textwrap
import uuid
from pathlib import Path

from asi_evolve.database import campaigns, experiments, nodes
from asi_evolve.evolution.models import CampaignSettings
from asi_evolve.evolution.outcomes import ExperimentStatus
from asi_evolve.sandbox.engineer import Engineer
from asi_evolve.sandbox.flights import Slots

from ..waiting import until_async

NUMBER_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "number"


async def add_campaign(tx, domain=NUMBER_DOMAIN, python=None, name="number"):
    """A campaign on a domain folder; its number."""
    return await campaigns.add(
        tx,
        name="c",
        goal="",
        domain=str(domain),
        domain_name=name,
        domain_version="1",
        instance=None,
        settings=CampaignSettings(python=python),
    )


async def order(workspace, *, seconds=0.0, domain=NUMBER_DOMAIN, python=None, before="", name="number", files=None):
    """Queue an experiment, without `files` one that does something, runs so long and scores 7; its number."""
    async with workspace.transaction() as tx:
        campaign = await add_campaign(tx, domain, python, name)
        work = textwrap.indent(textwrap.dedent(before), "    ")
        program = f"import time\ndef number(seed):\n{work}\n    time.sleep({seconds})\n    return 7.0\n"
        files = files or {"number.py": program}
        node = await nodes.add(tx, nodes.NewNode(campaign, "n", "m", files, uuid.uuid4().hex))
        return await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=[0])


def daemon(workspace, **options):
    return Engineer(workspace, Slots(2, ()), idle_seconds=30, **options)


@contextlib.asynccontextmanager
async def at_work(engineer):
    """The daemon works meanwhile."""
    work = asyncio.create_task(engineer.run())
    try:
        yield
    finally:
        work.cancel()


async def finished(workspace, number, seconds=20.0):
    """The experiment, once it has finished and its folder is gone."""
    async with asyncio.timeout(seconds):
        while (found := await experiments.get(workspace.read, number)).status is not ExperimentStatus.FINISHED:
            await asyncio.sleep(0.02)
    await until_async(lambda: not list(workspace.paths.jobs.iterdir()))
    return found
