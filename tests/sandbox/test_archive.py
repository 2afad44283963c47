"""The daemon keeps a campaign's MAP-Elites archive: a node has its cell in the moment in which it has its score."""

import pytest
from asi_evolve.database import campaigns, experiments, nodes
from asi_evolve.database.map_elites import appraisal
from asi_evolve.database.map_elites import view as archive_view
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.map_elites import ArchiveForm
from asi_evolve.evolution.models import CampaignSettings
from asi_evolve.evolution.outcomes import Outcome

from .engineering import NUMBER_DOMAIN, at_work, daemon, finished

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("isolation")]


async def queued(workspace, campaign, value, parents=()):
    """Experiment and node of a program that scores this."""
    program = f"def number(seed):\n    return {value}\n"
    async with workspace.transaction() as tx:
        new = nodes.NewNode(campaign, "n", "m", {"number.py": program}, str(value), parents, is_baseline=not parents)
        node = await nodes.add(tx, new)
        return await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=[0]), node


async def test_a_scored_node_is_in_the_archive_without_a_draw_and_a_failed_one_is_not(workspace):
    async with workspace.transaction() as tx:
        campaign = await campaigns.add(
            tx,
            name="c",
            goal="",
            domain=str(NUMBER_DOMAIN),
            domain_name="number",
            domain_version="1",
            instance=None,
            settings=CampaignSettings(sampler="map_elites"),
        )
    measures = load_domain(NUMBER_DOMAIN).spec.archive_measures()
    await appraisal.catch_up(workspace.database, campaign, ArchiveForm(measures, 5, 10))
    async with at_work(daemon(workspace)):
        first, baseline = await queued(workspace, campaign, 1.0)
        assert (await finished(workspace, first)).outcome is Outcome.SCORED
        second, better = await queued(workspace, campaign, "(2.0 + 5)", [baseline])
        third, broken = await queued(workspace, campaign, "1 / 0", [baseline])
        assert (await finished(workspace, second)).outcome is Outcome.SCORED
        assert (await finished(workspace, third)).outcome is Outcome.CANDIDATE_ERROR
    assert await appraisal.queue_length(workspace.read, campaign) == 0
    assert (await archive_view.place_of(workspace.read, campaign, baseline)).island == 0
    assert (await archive_view.place_of(workspace.read, campaign, better)).island == 1
    assert await archive_view.place_of(workspace.read, campaign, broken) is None
    cells = await workspace.read.all("SELECT node_id, score FROM cells ORDER BY island")
    assert [tuple(row) for row in cells] == [(baseline, 1.0), (better, 7.0)]
