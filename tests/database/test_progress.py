"""What runs tell: the latest point as long as they run, the series for good."""

import pytest
from asi_evolve.database import experiments, nodes, progress
from asi_evolve.database.connection import find_driver
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.models import Evaluation
from asi_evolve.evolution.outcomes import Outcome, ResourceUsage
from asi_evolve.evolution.progress import Point, Progress

pytestmark = pytest.mark.anyio

POINT = Point(1.5, 12.0, 0.25, {"loss": 1.5, "pass@1": 0.2}, ("grad",))


def told(value, notes=()):
    return Progress((POINT, Point(2.0, None, None, {"loss": value})), 7, 2, 100, notes)


def evaluation(job, outcome=Outcome.SCORED):
    return Evaluation(
        experiment_id=job.experiment_id,
        stage=job.stage,
        seed=job.seed,
        outcome=outcome,
        reason="",
        score=1.0 if outcome is Outcome.SCORED else None,
        metrics={},
        limit=None,
        usage=ResourceUsage(),
        environment={},
        started_at=0.0,
        finished_at=1.0,
    )


@pytest.fixture
def started(desk):
    """A running experiment with its job, by node."""

    async def start(node, *, campaign=1, stage="explore", seed=0):
        async with desk.workspace.transaction() as tx:
            number = await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage=stage, seeds=[seed])
            assert await experiments.start(tx, number)
            return await experiments.order_job(
                tx, experiment_id=number, stage=stage, seed=seed, token="t", cpus=1, gpus=[]
            )

    return start


async def note(desk, job, point=POINT):
    async with desk.workspace.transaction() as tx:
        await progress.note(tx, {job.id: point})


async def settle(desk, job, series, outcome=Outcome.SCORED):
    async with desk.workspace.transaction() as tx:
        return await experiments.settle_job(tx, job, evaluation(job, outcome), {}, [], series)


async def test_another_server_reads_what_a_run_told_last(desk, started):
    await desk.campaign()
    job = await started(await desk.node(1), seed=3)
    assert await progress.latest(desk.read, [job.experiment_id]) == {}
    await note(desk, job, Point(0.0, None, None, {}))
    await note(desk, job)
    async with open_workspace(desk.workspace.paths.root) as other:
        (found,) = (await progress.latest(other.read, [job.experiment_id])).values()
    assert (found.stage, found.seed, found.point) == ("explore", 3, POINT)


async def test_the_latest_point_goes_with_the_job_and_the_series_stays(desk, started):
    await desk.campaign()
    job = await started(await desk.node(1))
    await note(desk, job)
    assert await settle(desk, job, told(1.0, ("A note.",)))
    assert await progress.latest(desk.read, [job.experiment_id]) == {}
    (run,) = await experiments.evaluations(desk.read, [job.experiment_id])
    assert await progress.of_evaluations(desk.read, [run.id]) == {run.id: told(1.0, ("A note.",))}
    await note(desk, job)  # a daemon that was slow
    assert await progress.latest(desk.read, [job.experiment_id]) == {}


async def test_a_job_that_is_settled_twice_leaves_one_series(desk, started):
    await desk.campaign()
    job = await started(await desk.node(1))
    assert await settle(desk, job, told(1.0))
    assert not await settle(desk, job, told(2.0))
    (run,) = await experiments.evaluations(desk.read, [job.experiment_id])
    assert await progress.of_evaluations(desk.read, [run.id]) == {run.id: told(1.0)}


async def test_a_run_that_told_nothing_has_no_series(desk, started):
    await desk.campaign()
    job = await started(await desk.node(1))
    assert await settle(desk, job, None)
    (run,) = await experiments.evaluations(desk.read, [job.experiment_id])
    assert await progress.of_evaluations(desk.read, [run.id]) == {}


async def test_the_measure_is_the_latest_scored_run_of_each_seed_of_the_campaigns_own_baseline(desk, started):
    await desk.campaign()
    await desk.campaign()
    baseline = await desk.node(1, "baseline", is_baseline=True)
    foreign = await desk.node(2, "baseline", is_baseline=True)
    candidate = await desk.node(1, "other")
    runs = [
        (baseline, {"seed": 0}, 1.0, Outcome.SCORED),
        (baseline, {"seed": 1}, 2.0, Outcome.SCORED),
        (baseline, {"seed": 0}, 3.0, Outcome.SCORED),
        (baseline, {"seed": 1}, 4.0, Outcome.LOST),
        (baseline, {"stage": "verify"}, 5.0, Outcome.SCORED),
        (foreign, {"campaign": 2}, 6.0, Outcome.SCORED),
        (candidate, {}, 7.0, Outcome.SCORED),
    ]
    for node, order, value, outcome in runs:
        assert await settle(desk, await started(node, **order), told(value), outcome)
    assert await progress.of_baseline(desk.read, 1, "explore") == [told(3.0), told(2.0)]
    assert await progress.of_baseline(desk.read, 2, "explore") == [told(6.0)]
    assert await progress.of_baseline(desk.read, 2, "verify") == []
    assert (await nodes.get(desk.read, baseline)).is_baseline


async def test_how_many_runs_of_its_own_stage_an_experiment_has_behind_it(desk, started):
    await desk.campaign()
    job = await started(await desk.node(1))
    assert await experiments.runs_at_target(desk.read, [job.experiment_id]) == {}
    assert await settle(desk, job, None)
    async with desk.workspace.transaction() as tx:
        other = await experiments.order_job(
            tx, experiment_id=job.experiment_id, stage="check", seed=1, token="t", cpus=1, gpus=[]
        )
    assert await settle(desk, other, None)
    assert await experiments.runs_at_target(desk.read, [job.experiment_id, 99]) == {job.experiment_id: 1}


async def test_a_database_of_before_is_brought_up_to_date_with_its_jobs(tmp_path, monkeypatch):
    from asi_evolve.database import migrations

    scripts = migrations.migration_scripts()
    before = {number: sql for number, sql in scripts.items() if number < 3}
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migration_scripts", lambda: before)
        async with open_workspace(tmp_path):
            pass
    raw = find_driver().connect(tmp_path / "evolve.db")
    assert "progress_json" not in {row[1] for row in raw.execute("PRAGMA table_info(jobs)")}
    raw.close()
    async with open_workspace(tmp_path) as workspace:
        columns = {row["name"] for row in await workspace.read.all("PRAGMA table_info(jobs)")}
        assert "progress_json" in columns
        assert await workspace.read.value("SELECT count(*) FROM progress") == 0
