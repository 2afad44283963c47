"""What the laboratory does when the workspace changes beneath it."""

import shutil

import anyio
import pytest
from asi_evolve.database import cognition
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.models import CognitionOrigin
from asi_evolve.tools.laboratory import Laboratory

from ..waiting import until_async
from .conftest import NO_ENGINEER, open_bench

pytestmark = pytest.mark.anyio


async def test_a_workspace_that_was_removed_is_made_again_and_nothing_is_written_to_the_old_one(tmp_path):
    root = tmp_path / "workspace"
    async with open_bench(root) as bench:
        await bench.campaign()
        shutil.rmtree(root)
        result = await bench.client.call_tool("campaign_status", {"campaign": "c1"})
        assert result.is_error
        assert "there is no c1" in result.content[0].text
        assert await bench.campaign() == "c1"
        async with open_workspace(root) as beside:
            assert await beside.read.value("SELECT count(*) FROM campaigns") == 1


class Endless:
    """An embedder that never comes to an end."""

    fingerprint, dimension, at_work = "endless", 2, 0

    async def prepare(self):
        pass

    async def encode_documents(self, texts):
        self.at_work += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.at_work -= 1

    encode_queries = encode_documents


async def test_the_texts_of_a_workspace_that_was_removed_are_not_embedded_any_more(tmp_path):
    root, embedder = tmp_path / "workspace", Endless()
    async with Laboratory(root, NO_ENGINEER, embedder=embedder) as laboratory:
        workspace = await laboratory.workspace()
        async with workspace.transaction() as tx:
            for place in range(100):
                item = cognition.NewItem("number", f"Item {place}", "body", "", "s", (), CognitionOrigin.HUMAN)
                await cognition.add(tx, item)
        assert "0 of 100 texts embedded" in (await workspace.documents.find("body", "cognition")).method
        await until_async(lambda: embedder.at_work)
        shutil.rmtree(root)
        assert await laboratory.workspace() is not workspace
        assert not embedder.at_work


async def test_asking_for_the_status_starts_a_daemon_where_something_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("asi_evolve.tools.laboratory.START_AGAIN_S", 0.0)
    started = tmp_path / "started"
    started.touch()
    dies_at_once = ["sh", "-c", f"echo started >> '{started}'"]
    async with open_bench(tmp_path / "workspace", engineer_command=dies_at_once) as bench:

        async def daemons_started_by_asking():
            before = started.read_text()
            await bench.call("campaign_status", campaign="c1")
            with anyio.move_on_after(2):
                await until_async(lambda: started.read_text() != before)
            return started.read_text().count("started") - before.count("started")

        campaign = await bench.campaign()
        await until_async(lambda: started.read_text() == "started\n")
        assert await daemons_started_by_asking() == 0, "nothing waits"
        await bench.queue(campaign, 2.0)
        await anyio.sleep(0.5)  # the daemon of that call has come and gone
        assert await daemons_started_by_asking() == 1
