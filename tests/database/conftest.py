"""A workspace on a real SQLite file, with the shortest way to a campaign and a node."""

from pathlib import Path

import pytest
from asi_evolve.database import campaigns, nodes
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.models import CampaignSettings


class Desk:
    """Writes one thing per transaction."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.read = workspace.read

    async def campaign(self, name="packing", domain="circle_packing", **settings):
        async with self.workspace.transaction() as tx:
            return await campaigns.add(
                tx,
                name=name,
                goal="more",
                domain=domain,
                domain_name=domain,
                domain_version="1",
                instance=None,
                settings=CampaignSettings(**settings),
            )

    async def node(self, campaign, name="a node", motivation="to see", **more):
        new = {"files": {"a.py": f"x = '{name}'\n"}, "fingerprint": name} | more
        async with self.workspace.transaction() as tx:
            return await nodes.add(tx, nodes.NewNode(campaign_id=campaign, name=name, motivation=motivation, **new))


@pytest.fixture
async def workspace(tmp_path: Path):
    async with open_workspace(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def desk_on():
    return Desk


@pytest.fixture
def desk(workspace):
    return Desk(workspace)
