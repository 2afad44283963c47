"""The daemon's own bookkeeping when it is killed, or when the storage or a domain fails at the worst moment."""

import asyncio
import contextlib
import logging
import shutil
import sys
import threading
import uuid
from pathlib import Path

import pytest
from asi_evolve.database import experiments
from asi_evolve.database.connection import find_driver
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.outcomes import Outcome, ResourceUsage
from asi_evolve.sandbox import supervisor
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.jobs import JobExit, JobFolder

from ..waiting import until_async
from .engineering import NUMBER_DOMAIN, at_work, daemon, finished, order

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("isolation")]

STORAGE_TROUBLE = "The database cannot be used"
FINISHING_FAILS = """
    CREATE TRIGGER trouble BEFORE UPDATE OF status ON experiments WHEN new.status = 'finished'
    BEGIN INSERT INTO nowhere VALUES (1); END
"""
"""With this in the database SQLite itself refuses to finish an experiment, and so the transaction around it."""


def change(workspace, sql):
    """Alter the database from outside, as nobody should."""
    other = find_driver().connect(workspace.paths.database)
    other.execute(sql)
    other.close()


def running(workspace):
    return list(workspace.paths.jobs.glob("*/supervisor.pid"))


async def ordered_job(workspace, number):
    """A job as a daemon leaves it that was killed before it started the supervisor."""
    async with workspace.transaction() as tx:
        assert await experiments.start(tx, number)
        return await experiments.order_job(
            tx, experiment_id=number, stage="explore", seed=0, token=uuid.uuid4().hex, cpus=1, gpus=[]
        )


async def test_a_job_survives_a_transaction_that_fails_while_it_is_settled(workspace, caplog):
    number = await order(workspace, seconds=0.7)
    async with at_work(daemon(workspace)):
        await until_async(lambda: running(workspace))
        change(workspace, FINISHING_FAILS)
        await until_async(lambda: STORAGE_TROUBLE in caplog.text)
        change(workspace, "DROP TRIGGER trouble")
        found = await finished(workspace, number)
    assert (found.outcome, found.score) == (Outcome.SCORED, 7.0)
    assert len(await experiments.evaluations(workspace.read, [number])) == 1


async def test_a_database_that_fails_while_a_job_is_launched_is_not_the_end_of_it(workspace, caplog):
    number = await order(workspace)
    change(workspace, "ALTER TABLE node_files RENAME TO elsewhere")
    async with at_work(daemon(workspace)):
        await until_async(lambda: STORAGE_TROUBLE in caplog.text)
        change(workspace, "ALTER TABLE elsewhere RENAME TO node_files")
        found = await finished(workspace, number)
    assert found.outcome is Outcome.SCORED, found.reason


@pytest.fixture
def own_domain(tmp_path):
    return Path(shutil.copytree(NUMBER_DOMAIN, tmp_path / "number"))


@pytest.mark.parametrize(("shape", "metric"), [("curve", "error"), ("bandit", "reward")])
async def test_the_daemon_runs_every_shape_and_keeps_the_logs_of_its_programs(workspace, tmp_path, shape, metric):
    domain = tmp_path / shape
    shutil.copytree(NUMBER_DOMAIN.parent / shape, domain)
    program = "predict.py" if shape == "curve" else "trainer.py"
    (domain / program).write_text("print('said by ' + __file__)\n" + (domain / program).read_text())
    numbers = [await order(workspace, domain=domain, name=shape, files=load_domain(domain).baseline) for _ in range(2)]
    async with at_work(daemon(workspace)):
        found = [await finished(workspace, number, seconds=60) for number in numbers]
    assert [entry.outcome for entry in found] == [Outcome.SCORED] * 2, found[0].reason
    assert found[0].score == found[1].score  # the same hidden seed for both
    (stored,) = await experiments.evaluations(workspace.read, [numbers[0]])
    assert metric in stored.evaluation.metrics
    logs = await experiments.log(workspace.read, stored.id)
    assert "said by" in logs["predict" if shape == "curve" else "trainer"]


def raise_version(domain):
    spec = domain / "domain.toml"
    spec.write_text(spec.read_text().replace('version = "1"', 'version = "2"'))


async def test_a_package_that_is_not_installed_is_nobodys_bad_idea(workspace, own_domain):
    spec = own_domain / "domain.toml"
    spec.write_text(spec.read_text().replace("[domain]", '[domain]\nrequirements = ["numpy", "no-such-thing>=2"]'))
    number = await order(workspace, domain=own_domain)
    async with at_work(daemon(workspace)):
        found = await finished(workspace, number)
    assert found.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert found.reason.startswith("Domain number needs no-such-thing>=2 (missing) in the Python that candidates run")
    assert found.reason.endswith(f"Do: {sys.executable} -m pip install 'no-such-thing>=2'")


async def test_an_experiment_that_is_given_up_leaves_no_folder(workspace, own_domain):
    number = await order(workspace, seconds=0.7, domain=own_domain)
    async with at_work(daemon(workspace)):
        await until_async(lambda: running(workspace))
        raise_version(own_domain)
        found = await finished(workspace, number)
    assert found.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "which is now version 2" in found.reason


async def test_a_database_that_fails_while_an_experiment_is_given_up_is_tried_again(workspace, own_domain, caplog):
    number = await order(workspace, seconds=0.7, domain=own_domain)
    async with at_work(daemon(workspace)):
        await until_async(lambda: running(workspace))
        raise_version(own_domain)
        change(workspace, FINISHING_FAILS)
        await until_async(lambda: STORAGE_TROUBLE in caplog.text)
        change(workspace, "DROP TRIGGER trouble")
        found = await finished(workspace, number)
    assert found.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "which is now version 2" in found.reason


async def test_a_daemon_killed_before_its_supervisor_existed_loses_nothing(workspace):
    number = await order(workspace)
    job = await ordered_job(workspace, number)
    folder = JobFolder(workspace.paths.jobs / job.folder)
    folder.path.mkdir(parents=True)
    folder.lock.touch()  # it had taken the lock, which came free with its death
    async with at_work(daemon(workspace)):
        found = await finished(workspace, number)
    assert (found.outcome, found.score) == (Outcome.SCORED, 7.0), found.reason


async def test_a_job_whose_supervisor_cannot_be_started_is_not_started_for_ever(workspace, monkeypatch):
    number = await order(workspace, python=sys.executable)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with at_work(daemon(workspace)):
        assert (await finished(workspace, number)).outcome is Outcome.INFRASTRUCTURE_ERROR


async def test_what_a_killed_daemon_left_of_settled_jobs_is_removed(workspace):
    left = workspace.paths.jobs / "e1-explore-0-99"
    (left / "out").mkdir(parents=True)
    async with at_work(daemon(workspace)):
        await until_async(lambda: not left.exists())


async def test_a_daemon_whose_workspace_was_removed_ends_and_makes_no_new_one(workspace, caplog):
    caplog.set_level(logging.WARNING)
    shutil.rmtree(workspace.paths.root)
    workspace.paths.jobs.mkdir(parents=True)
    async with asyncio.timeout(10):
        await daemon(workspace).run()
    assert "was removed" in caplog.text
    assert not workspace.paths.database.exists()


async def test_a_user_without_a_home_has_an_interpreter_all_the_same(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert describe_interpreter(sys.executable, ()).roots


def test_the_end_of_a_job_waits_for_room_on_the_disk(small_disk, monkeypatch, capfd):
    monkeypatch.setattr(supervisor, "ROOM_POLL_S", 0.05)
    place, _ = small_disk
    folder, filler = JobFolder(place), place / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while stream.write(b"x" * 4096):
            pass
    ended = JobExit("t", Outcome.SCORED, "", {"value": 1.0}, None, ResourceUsage(), {}, (), 1.0, 2.0)
    with pytest.raises(OSError, match="No space left"):
        folder.write_exit(ended)
    threading.Timer(0.5, filler.unlink).start()
    supervisor.publish(folder, ended)
    assert folder.read_exit() == ended
