"""A workspace on a real SQLite file, with the shortest way to a campaign and a node."""

import zlib
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


class HashingEmbedder:
    """Counts words in buckets: texts with more words in common are nearer."""

    def __init__(self, fingerprint="hashing-64", dimension=64):
        self.fingerprint = fingerprint
        self.dimension = dimension
        self.encoded = []

    async def prepare(self):
        pass

    def vector(self, text):
        counts = [0.0] * self.dimension
        for word in text.lower().split():
            counts[zlib.crc32(word.encode()) % self.dimension] += 1.0
        return counts

    async def encode_documents(self, texts):
        self.encoded += texts
        return [self.vector(text) for text in texts]

    async def encode_queries(self, texts):
        return [self.vector(text) for text in texts]


@pytest.fixture
async def workspace(tmp_path: Path):
    async with open_workspace(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def desk_on():
    return Desk


@pytest.fixture
def hashing():
    return HashingEmbedder


@pytest.fixture
def desk(workspace):
    return Desk(workspace)
