"""A workspace that cannot be used: the agent reads why, nothing is half-written, and mending the cause is enough."""

import asyncio
import os

import pytest
from asi_evolve.database.connection import find_driver

from .conftest import NUMBER_DOMAIN, open_bench, program

pytestmark = pytest.mark.anyio


async def failure(bench, tool, **arguments):
    result = await bench.client.call_tool(tool, arguments)
    assert result.is_error, result.content[0].text
    return result.content[0].text


async def test_a_file_where_the_folder_should_be_is_named_and_can_be_mended(tmp_path):
    root = tmp_path / "workspace"
    root.write_text("in the way")
    async with open_bench(root) as bench:
        assert str(root) in await failure(bench, "start_campaign", domain=NUMBER_DOMAIN)
        assert str(root) in await failure(bench, "campaign_status")
        root.unlink()
        assert await bench.campaign() == "c1", "the next call tries again"


@pytest.fixture
def read_only(tmp_path, request):
    """A folder that cannot be written, by root neither."""
    if os.geteuid() == 0:
        place, remount = request.getfixturevalue("small_disk")
        remount("ro")
        return place
    place = tmp_path / "workspace"
    place.mkdir(mode=0o500)
    return place


async def test_a_read_only_folder_is_named(read_only):
    async with open_bench(read_only) as bench:
        text = await failure(bench, "start_campaign", domain=NUMBER_DOMAIN)
        assert str(read_only) in text
        assert "read-only" in text.lower() or "permission" in text.lower()


async def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    (tmp_path / "evolve.db").write_bytes(b"someone's notes\n" * 1000)
    async with open_bench(tmp_path) as bench:
        text = await failure(bench, "start_campaign", domain=NUMBER_DOMAIN)
        assert "evolve.db" in text
        assert "SQLite database" in text
    assert (tmp_path / "evolve.db").read_bytes() == b"someone's notes\n" * 1000


async def test_a_database_of_a_later_version_is_refused_and_left_alone(tmp_path):
    async with open_bench(tmp_path) as bench:
        await bench.campaign()
    connection = find_driver().connect(tmp_path / "evolve.db")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    async with open_bench(tmp_path) as bench:
        for tool, arguments in {"start_campaign": {"domain": NUMBER_DOMAIN}, "campaign_status": {}}.items():
            text = await failure(bench, tool, **arguments)
            assert "it has 999" in text
            assert "a later asi-evolve wrote it" in text
            assert "--workspace" in text
    connection = find_driver().connect(tmp_path / "evolve.db")
    assert connection.execute("SELECT count(*) FROM campaigns").fetchone()[0] == 1
    connection.close()


async def test_a_full_disk_loses_nothing_and_stores_nothing_by_halves(bench, campaign):
    workspace = await bench.workspace()
    writer = workspace.database._writer

    async def pages_at_most(count):
        await writer.execute_fetchall(f"PRAGMA max_page_count = {count}")

    used = (await writer.execute_fetchall("PRAGMA page_count"))[0][0]
    await pages_at_most(used)
    body = "word " * 3999
    large = {
        "run_experiment": {
            "campaign": campaign,
            "name": "large",
            "motivation": body[:8000],
            "code": program(2.0) + "#" * 150_000,
            "wait_s": 0,
        },
        "add_cognition": {"campaign": campaign, "items": [{"title": "t", "body": body, "source": "s"}]},
        "start_campaign": {"domain": "circle_packing"},
    }
    for tool, arguments in large.items():
        text = await bench.refusal(tool, **arguments)
        assert "disk is full" in text, tool
        assert "Nothing was stored" in text, tool
        assert "disk has room" in text, tool
    assert (await bench.call("campaign_status", campaign=campaign))["best"][0]["id"] == "n1", "reading goes on"
    await pages_at_most(2**31)
    for tool, arguments in large.items():
        await bench.call(tool, **arguments)


async def test_a_writer_that_holds_the_lock_is_waited_for(tmp_path):
    async with open_bench(tmp_path) as bench:
        campaign = await bench.campaign()
        other = find_driver().connect(tmp_path / "evolve.db")
        other.execute("BEGIN IMMEDIATE")
        order = asyncio.create_task(bench.queue(campaign, 2.0))
        await asyncio.sleep(0.3)
        assert not order.done()
        assert (await bench.call("campaign_status", campaign=campaign))["best"], "reading does not wait"
        other.execute("ROLLBACK")
        other.close()
        assert (await order)["status"] == "queued"


async def test_a_database_that_breaks_while_it_is_open_is_named(bench, campaign):
    other = find_driver().connect(bench.root / "evolve.db")
    other.execute("PRAGMA foreign_keys = OFF")
    other.execute("DROP TABLE experiments")
    other.close()
    for tool, arguments in {
        "campaign_status": {"campaign": campaign},
        "start_campaign": {"domain": NUMBER_DOMAIN},
    }.items():
        text = await failure(bench, tool, **arguments)
        assert "evolve.db" in text, tool
