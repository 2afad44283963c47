"""The daemon's own bookkeeping, when it is killed or the storage fails at the worst moment."""

import asyncio
import errno
import sys
from pathlib import Path

import pytest
from asi_evolve.database import campaigns, experiments, nodes
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.errors import StorageError
from asi_evolve.evolution.models import CampaignSettings
from asi_evolve.evolution.outcomes import ExperimentStatus, Outcome, ResourceUsage
from asi_evolve.sandbox import supervisor
from asi_evolve.sandbox.engineer import Engineer, Slots
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.jobs import JobExit, JobFolder

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("isolation")]

NUMBER_DOMAIN = str(Path(__file__).parent.parent / "domain_folders" / "number")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def workspace(tmp_path):
    async with open_workspace(tmp_path / "workspace") as opened:
        yield opened


async def order(workspace, value=7.0):
    """Queue an experiment on the number domain; its number."""
    async with workspace.transaction() as tx:
        campaign = await campaigns.add(
            tx,
            name="c",
            goal="",
            domain=NUMBER_DOMAIN,
            domain_name="number",
            domain_version="1",
            instance=None,
            settings=CampaignSettings(),
        )
        node = await nodes.add(
            tx,
            nodes.NewNode(
                campaign_id=campaign,
                name="n",
                motivation="m",
                files={"number.py": f"def number(seed):\n    return {value}\n"},
                fingerprint="f",
            ),
        )
        return await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=[0])


def daemon(workspace, idle_seconds=0.5):
    return Engineer(workspace, Slots(2, ()), idle_seconds)


async def result(workspace, number, engineer, seconds=20.0):
    """The experiment as it is once the engineer has run for so long, or once it has finished."""
    work = asyncio.create_task(engineer.run())
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await experiments.get(workspace.read, number)
                if found.status is ExperimentStatus.FINISHED:
                    await work
                    return await experiments.get(workspace.read, number)
                assert not work.done(), f"the engineer ended, but e{number} is {found.status}: {work}"
                await asyncio.sleep(0.05)
    finally:
        work.cancel()


async def ordered_job(workspace, number):
    """A job as a daemon leaves it that was killed before it started the supervisor."""
    async with workspace.transaction() as tx:
        assert await experiments.start(tx, number)
        return await experiments.order_job(
            tx, experiment_id=number, stage="explore", seed=0, token="t", cpus=1, gpus=[]
        )


async def test_a_job_survives_a_commit_that_fails(workspace, monkeypatch):
    number = await order(workspace)
    writer, failures = workspace.database._writer, []
    execute = writer.execute

    async def failing(sql, parameters=()):
        if sql == "COMMIT" and not failures:
            async with execute("SELECT count(*) FROM evaluations") as cursor:
                if (await cursor.fetchone())[0]:
                    failures.append(sql)
                    raise workspace.database.driver.module.OperationalError("database or disk is full")
        return await execute(sql, parameters)

    class Failing:
        """`execute` is awaited for COMMIT, and entered as a context elsewhere."""

        def __getattr__(self, name):
            return getattr(writer, name)

        def execute(self, sql, parameters=()):
            return failing(sql, parameters) if sql == "COMMIT" else execute(sql, parameters)

    monkeypatch.setattr(workspace.database, "_writer", Failing())
    engineer = daemon(workspace, idle_seconds=30)
    work = asyncio.create_task(engineer.run())
    try:
        async with asyncio.timeout(10):
            while (found := await experiments.get(workspace.read, number)).status is not ExperimentStatus.FINISHED:
                await asyncio.sleep(0.05)
    finally:
        work.cancel()
    assert failures
    assert (found.outcome, found.score) == (Outcome.SCORED, 7.0)


async def test_a_daemon_killed_before_its_supervisor_existed_loses_nothing(workspace):
    number = await order(workspace)
    job = await ordered_job(workspace, number)
    engineer = daemon(workspace)
    folder = engineer._folder(job)
    folder.path.mkdir(parents=True)
    folder.lock.touch()  # it had taken the lock, which came free with its death
    found = await result(workspace, number, engineer)
    assert (found.outcome, found.score) == (Outcome.SCORED, 7.0), found.reason


async def test_a_user_without_a_home_has_an_interpreter_all_the_same(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert describe_interpreter(sys.executable, ()).roots


async def test_a_job_whose_supervisor_always_dies_at_once_is_not_started_for_ever(workspace, monkeypatch):
    number = await order(workspace)
    interpreter_of_tests = describe_interpreter(sys.executable, ())
    monkeypatch.setattr(Engineer, "_interpreter", lambda self, *_: interpreter_of_tests)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert (await result(workspace, number, daemon(workspace))).outcome is Outcome.LOST


async def test_what_a_killed_daemon_left_of_settled_jobs_is_removed(workspace):
    number = await order(workspace)
    left = workspace.paths.jobs / "e1-explore-0-99"
    (left / "out").mkdir(parents=True)
    await result(workspace, number, daemon(workspace))
    assert not list(workspace.paths.jobs.iterdir())


async def test_a_failure_of_the_storage_is_not_the_end_of_an_experiment(workspace, monkeypatch):
    number = await order(workspace)
    engineer, failures = daemon(workspace), []
    files = nodes.files

    async def failing(reader, node):
        if not failures:
            failures.append(node)
            raise StorageError("Expected to use the database, but: disk I/O error.")
        return await files(reader, node)

    monkeypatch.setattr(nodes, "files", failing)
    found = await result(workspace, number, engineer)
    assert failures
    assert found.outcome is Outcome.SCORED, found.reason


async def test_a_failure_of_the_storage_while_an_experiment_is_given_up_leaves_it_to_the_next_try(
    workspace, monkeypatch
):
    number = await order(workspace)
    engineer, failures = daemon(workspace, idle_seconds=30), []
    finish = experiments.finish

    def broken(*_):
        raise ValueError("a bug")

    async def failing(*arguments):
        if not failures:
            failures.append(arguments)
            raise StorageError("Expected to use the database, but: disk I/O error.")
        await finish(*arguments)

    monkeypatch.setattr(engineer, "_keep", broken)
    monkeypatch.setattr(experiments, "finish", failing)
    work = asyncio.create_task(engineer.run())
    try:
        async with asyncio.timeout(10):
            while (found := await experiments.get(workspace.read, number)).status is not ExperimentStatus.FINISHED:
                await asyncio.sleep(0.05)
    finally:
        work.cancel()
    assert failures
    assert found.outcome is Outcome.INFRASTRUCTURE_ERROR


async def test_an_experiment_that_met_a_bug_leaves_no_folder(workspace, monkeypatch):
    number = await order(workspace)
    engineer = daemon(workspace)

    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(engineer, "_keep", broken)
    assert (await result(workspace, number, engineer)).outcome is Outcome.INFRASTRUCTURE_ERROR
    assert not list(workspace.paths.jobs.iterdir())


def test_the_end_of_a_job_waits_for_room_on_the_disk(tmp_path, monkeypatch):
    folder, left = JobFolder(tmp_path), [OSError(errno.ENOSPC, "No space left on device")] * 2
    ended = JobExit("t", Outcome.SCORED, "", {"value": 1.0}, None, ResourceUsage(), {}, (), 1.0, 2.0)
    write = JobFolder.write_exit

    def full(self, job_exit):
        if left:
            raise left.pop()
        write(self, job_exit)

    monkeypatch.setattr(JobFolder, "write_exit", full)
    monkeypatch.setattr(supervisor, "ROOM_POLL_S", 0.01)
    supervisor.publish(folder, ended)
    assert folder.read_exit() == ended
