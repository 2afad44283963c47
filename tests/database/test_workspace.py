"""Opening a workspace: made where there is none, kept where there is one, left alone where it cannot be used."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from asi_evolve.database import campaigns, migrations
from asi_evolve.database.connection import find_driver
from asi_evolve.database.seed_key import seed_key
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.errors import NewerDatabase, StorageError
from asi_evolve.evolution.models import CampaignSettings

pytestmark = pytest.mark.anyio


def raw(path, *statements):
    """Change a database behind the program's back; returns what the last statement gives."""
    connection = find_driver().module.connect(str(path), isolation_level=None)
    rows = [connection.execute(statement).fetchall() for statement in statements]
    connection.close()
    return rows[-1]


async def start(workspace, name):
    async with workspace.transaction() as tx:
        return await campaigns.add(
            tx,
            name=name,
            goal="",
            domain="d",
            domain_name="d",
            domain_version="1",
            instance=None,
            settings=CampaignSettings(sampler="greedy", seed=7),
        )


async def test_opening_makes_folder_and_database_for_their_owner_alone(tmp_path):
    async with open_workspace(tmp_path / "deep" / "workspace") as workspace:
        assert await campaigns.recent(workspace.read) == []
        assert workspace.paths.database.is_file()
        assert (tmp_path / "deep" / "workspace").stat().st_mode & 0o077 == 0


async def test_opening_again_finds_what_was_stored(tmp_path):
    async with open_workspace(tmp_path) as workspace:
        number = await start(workspace, "kept")
        before = await campaigns.get(workspace.read, number)
    async with open_workspace(tmp_path) as workspace:
        assert await campaigns.get(workspace.read, number) == before
        assert before.name == "kept"
        assert before.settings.seed == 7


async def test_every_commit_is_on_disk_before_it_is_acknowledged(workspace):
    # NORMAL (1) would lose acknowledged commits when the power fails; nothing short of that shows the difference.
    async with workspace.transaction() as tx:
        assert await tx.value("PRAGMA synchronous") == 2
        assert await tx.value("PRAGMA journal_mode") == "wal"
        assert await tx.value("PRAGMA foreign_keys") == 1


async def test_a_database_of_a_later_version_is_refused_and_not_touched(tmp_path):
    async with open_workspace(tmp_path):
        pass
    database = tmp_path / "evolve.db"
    raw(database, "PRAGMA user_version = 999")
    before = database.read_bytes()
    with pytest.raises(NewerDatabase, match=r"has 999.*Install that version, or choose another workspace"):
        async with open_workspace(tmp_path):
            pass
    assert database.read_bytes() == before
    assert not list(tmp_path.glob("*.backup"))


def with_script(monkeypatch, sql):
    scripts = migrations.migration_scripts()
    newest = max(scripts) + 1
    monkeypatch.setattr(migrations, "migration_scripts", lambda: scripts | {newest: sql})
    return newest


async def test_an_older_database_is_brought_up_to_date_after_a_copy_is_made(tmp_path, monkeypatch):
    async with open_workspace(tmp_path) as workspace:
        await start(workspace, "old")
    newest = with_script(
        monkeypatch, "CREATE TABLE extra (id INTEGER);\n-- a comment; with a semicolon\nINSERT INTO extra VALUES (1);\n"
    )
    async with open_workspace(tmp_path) as workspace:
        assert (await campaigns.get(workspace.read, 1)).name == "old"
        assert await workspace.read.value("SELECT count(*) FROM extra") == 1
        assert await workspace.read.value("PRAGMA user_version") == newest
    (copy,) = tmp_path.glob("*.backup")
    assert copy.name == f"evolve.db.v{newest - 1}.backup"
    assert raw(copy, "PRAGMA user_version") == [(newest - 1,)]
    assert raw(copy, "SELECT name FROM campaigns") == [("old",)]
    assert raw(copy, "SELECT count(*) FROM sqlite_master WHERE name = 'extra'") == [(0,)]


async def test_a_migration_that_fails_half_way_leaves_the_old_schema(tmp_path, monkeypatch):
    async with open_workspace(tmp_path) as workspace:
        await start(workspace, "old")
    with monkeypatch.context() as patch:
        newest = with_script(patch, "CREATE TABLE extra (id INTEGER);\nINSERT INTO nowhere VALUES (1);\n")
        with pytest.raises(StorageError, match="nowhere"):
            async with open_workspace(tmp_path):
                pass
    async with open_workspace(tmp_path) as workspace:
        assert await workspace.read.value("PRAGMA user_version") == newest - 1
        assert await workspace.read.value("SELECT count(*) FROM sqlite_master WHERE name = 'extra'") == 0
        assert (await campaigns.get(workspace.read, 1)).name == "old"


async def test_logs_of_an_older_database_are_kept_when_programs_are_added(tmp_path, monkeypatch):
    scripts = migrations.migration_scripts()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migration_scripts", lambda: {n: sql for n, sql in scripts.items() if n < 4})
        async with open_workspace(tmp_path):
            pass
    columns = "id, experiment_id, stage, seed, outcome, reason, cpu_seconds, wall_seconds, gpu_seconds, peak_memory_mb"
    columns += ", peak_pids, environment_json, started_at, finished_at"
    values = "1, 1, 'explore', 0, 'candidate_error', 'it crashed', 0, 0, 0, 0, 1, '{}', 0, 0"
    raw(tmp_path / "evolve.db", f"INSERT INTO evaluations ({columns}) VALUES ({values})")
    raw(tmp_path / "evolve.db", "INSERT INTO logs VALUES (1, 'stderr', 'no such ring')")
    async with open_workspace(tmp_path) as workspace:
        rows = await workspace.read.all("SELECT stream, text FROM logs")
        assert [tuple(row) for row in rows] == [("stderr", "no such ring")]


async def test_every_workspace_has_a_key_of_its_own_for_hidden_seeds_and_keeps_it(tmp_path):
    async with open_workspace(tmp_path / "one") as one, open_workspace(tmp_path / "other") as other:
        key = await seed_key(one.read)
        assert len(key) == 32
        assert key != await seed_key(other.read)
    async with open_workspace(tmp_path / "one") as one:
        assert await seed_key(one.read) == key


async def test_a_new_database_needs_no_copy(tmp_path):
    async with open_workspace(tmp_path):
        assert not list(tmp_path.glob("*.backup"))


@pytest.mark.parametrize(
    "content", [b"# Notes\n" * 1000, b"SQLite format 3\0" + b"\xff" * 8000], ids=["text", "broken"]
)
async def test_a_file_that_is_no_database_is_refused_and_not_touched(tmp_path, content):
    database = tmp_path / "evolve.db"
    database.write_bytes(content)
    with pytest.raises(StorageError, match=r"evolve\.db.*Check that the file is a SQLite database"):
        async with open_workspace(tmp_path):
            pass
    assert database.read_bytes() == content


async def test_a_workspace_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "workspace"):
        with pytest.raises(StorageError, match="Expected to make the workspace folder"):
            async with open_workspace(place):
                pass


async def test_a_workspace_whose_database_is_a_folder_is_refused(tmp_path):
    (tmp_path / "evolve.db").mkdir()
    with pytest.raises(StorageError, match=r"evolve\.db"):
        async with open_workspace(tmp_path):
            pass


async def test_a_read_only_file_system_is_refused(small_disk):
    place, remount = small_disk
    async with open_workspace(place / "workspace"):
        pass
    remount("ro")
    for root in (place / "workspace", place / "new"):
        with pytest.raises(StorageError, match=str(root)):
            async with open_workspace(root):
                pass


async def test_a_full_disk_stores_nothing_by_halves_and_costs_nothing_stored_before(small_disk):
    place, remount = small_disk
    async with open_workspace(place) as workspace:
        acknowledged = []
        with pytest.raises(StorageError, match=r"Nothing was stored. Check that the disk has room"):
            for _ in range(200):
                acknowledged.append(await start(workspace, "x" * 20_000))
        stored = await campaigns.recent(workspace.read, limit=1000)
        assert sorted(campaign.id for campaign in stored) == acknowledged
        assert await workspace.read.value("SELECT count(*) FROM events") == len(acknowledged) > 0
        remount("size=8m")
        assert await start(workspace, "room again") > acknowledged[-1]
    async with open_workspace(place) as workspace:
        assert await workspace.read.value("PRAGMA integrity_check") == "ok"
        assert len(await campaigns.recent(workspace.read, limit=1000)) == len(acknowledged) + 1


OPEN_AT = """
import asyncio, sys, time
from pathlib import Path
from asi_evolve.database.seed_key import seed_key
from asi_evolve.database.workspace import open_workspace

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    async with open_workspace(Path(sys.argv[1])) as workspace:
        print(await workspace.read.value("PRAGMA user_version"))

asyncio.run(main())
"""


def opener(root):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", OPEN_AT, root], **pipes)
    assert process.stdout.readline() == "ready\n"
    return process


async def test_several_processes_can_open_a_new_workspace_at_the_same_moment(tmp_path):
    several = [opener(tmp_path) for _ in range(6)]
    for process in several:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in several]
    newest = max(migrations.migration_scripts())
    assert answers == [(f"{newest}\n", "")] * len(several)
    assert not list(Path(tmp_path).glob("*.backup"))


async def test_opening_waits_for_another_that_has_not_come_to_wal_yet(tmp_path):
    # SQLite answers "database is locked" to this at once, whatever its busy timeout.
    driver = find_driver()
    first = driver.module.connect(str(tmp_path / "evolve.db"), isolation_level=None, check_same_thread=False)
    first.execute("BEGIN IMMEDIATE")
    first.execute("CREATE TABLE unrelated (id INTEGER)")
    release = asyncio.get_running_loop().call_later
    opening = asyncio.to_thread(driver.connect, tmp_path / "evolve.db")
    release(0.2, lambda: first.execute("COMMIT"))
    second = await opening
    assert second.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    for connection in (first, second):
        connection.close()


async def test_two_openings_in_one_process_see_each_others_work(tmp_path):
    async with open_workspace(tmp_path) as one, open_workspace(tmp_path) as other:
        numbers = await asyncio.gather(*(start(place, "both") for place in (one, other) for _ in range(5)))
        assert sorted(numbers) == list(range(1, 11))
        assert len(await campaigns.recent(one.read)) == len(await campaigns.recent(other.read)) == 10
