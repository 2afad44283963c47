"""Early stops through the real daemon: what the baseline told is the measure, and a killed daemon forgets nothing."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest
from asi_evolve.database import campaigns, experiments, nodes, progress
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.outcomes import ExperimentStatus, Outcome
from asi_evolve.sandbox.engineer import Engineer
from asi_evolve.sandbox.flights import Slots
from asi_evolve.sandbox.verification import verify

from ..waiting import until_async
from .engineering import add_campaign

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("isolation")]

FALLING_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "falling"
FALLING = "def loss(step, seed):\n    return {scale} / step + seed / 100\n"
SLOW = "import time\ndef loss(step, seed):\n    time.sleep(0.1)\n    return 10.0 / step\n"
DIVERGES = "import time\ndef loss(step, seed):\n    time.sleep(0.05)\n    return 1.0 if step < 5 else float('nan')\n"


class Laboratory:
    """A workspace with one campaign on the falling domain, and a daemon when one is wanted."""

    def __init__(self, workspace, campaign):
        self.workspace, self.campaign, self.read = workspace, campaign, workspace.read

    async def order(self, program, *, stage="explore", seeds=(0,), is_baseline=False):
        async with self.workspace.transaction() as tx:
            new = nodes.NewNode(self.campaign, "n", "m", {"curve.py": program}, program, is_baseline=is_baseline)
            node = await nodes.add(tx, new)
            return await experiments.enqueue(
                tx, campaign_id=self.campaign, node_id=node, stage=stage, seeds=list(seeds)
            )

    async def again(self, number, stage):
        node = (await experiments.get(self.read, number)).node_id
        async with self.workspace.transaction() as tx:
            return await experiments.enqueue(tx, campaign_id=self.campaign, node_id=node, stage=stage, seeds=[0])

    @contextlib.asynccontextmanager
    async def daemon(self):
        work = asyncio.create_task(Engineer(self.workspace, Slots(2, ()), idle_seconds=30).run())
        try:
            yield
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def finished(self, number, seconds=30.0):
        async with asyncio.timeout(seconds):
            while (found := await experiments.get(self.read, number)).status is not ExperimentStatus.FINISHED:
                await asyncio.sleep(0.02)
        return found

    async def run(self, program, **order):
        number = await self.order(program, **order)
        async with self.daemon():
            return await self.finished(number)

    async def series(self, number):
        runs = await experiments.evaluations(self.read, [number])
        told = await progress.of_evaluations(self.read, [run.id for run in runs])
        return [told.get(run.id) for run in runs]


async def campaign_on(workspace, domain=FALLING_DOMAIN):
    async with workspace.transaction() as tx:
        number = await add_campaign(tx, domain, name="falling")
    return Laboratory(workspace, number)


@pytest.fixture
async def laboratory(tmp_path):
    async with open_workspace(tmp_path / "workspace") as workspace:
        yield await campaign_on(workspace)


async def with_baseline(laboratory, seeds=(0, 1, 2)):
    found = await laboratory.run(FALLING.format(scale=10.0), seeds=seeds, is_baseline=True)
    assert found.outcome is Outcome.SCORED, found.reason
    return found


async def test_a_candidate_far_above_the_baseline_is_rejected_and_its_other_seeds_are_spared(laboratory):
    await with_baseline(laboratory)
    found = await laboratory.run(FALLING.format(scale=20.0), seeds=(0, 1, 2))
    assert found.outcome is Outcome.REJECTED
    # At step 10 of 40 the baseline told 1, 1.01 and 1.02: an sd of 0.01, raised to the domain's least of 0.1.
    assert found.reason == (
        "Stopped early at 25 % (step 10): loss 2 is above 1.31 (the baseline's 1.01 + 3 x 0.1, 3 seeds)."
    )
    assert len(await experiments.evaluations(laboratory.read, [found.id])) == 1
    node = await nodes.get(laboratory.read, found.node_id)
    assert (node.outcome, node.score) == (Outcome.REJECTED, None)


async def test_a_candidate_within_the_baselines_deviations_is_scored(laboratory):
    await with_baseline(laboratory)
    found = await laboratory.run(FALLING.format(scale=12.0), seeds=(0, 1))
    assert found.outcome is Outcome.SCORED
    assert [told.notes for told in await laboratory.series(found.id)] == [(), ()]


async def test_without_a_baseline_at_the_stage_the_rule_does_not_hold_and_the_series_says_so(laboratory):
    first = await laboratory.run(FALLING.format(scale=90.0))
    assert first.outcome is Outcome.SCORED
    ((note,),) = [told.notes for told in await laboratory.series(first.id)]
    assert "above_baseline at 0.25 on loss was not applied: the baseline has told no such value" in note


async def test_a_baseline_of_another_campaign_or_stage_is_no_measure(laboratory):
    other = await campaign_on(laboratory.workspace)
    await with_baseline(other)
    assert (await laboratory.run(FALLING.format(scale=90.0))).outcome is Outcome.SCORED
    assert (await other.run(FALLING.format(scale=90.0), stage="long")).outcome is Outcome.REJECTED


async def test_the_baseline_is_not_measured_by_itself(laboratory):
    baseline = await with_baseline(laboratory)
    number = await laboratory.again(baseline.id, "explore")
    async with laboratory.daemon():
        again = await laboratory.finished(number)
    assert again.outcome is Outcome.SCORED
    assert [told.notes for told in await laboratory.series(number)] == [()]


async def test_not_a_number_ends_an_experiment_at_once(laboratory):
    found = await laboratory.run(DIVERGES)
    assert (found.outcome, found.score) == (Outcome.REJECTED, None)
    assert found.reason == "Stopped early at 12.5 % (step 5): loss is not finite."
    ((run,), (told,)) = (await experiments.evaluations(laboratory.read, [found.id])), await laboratory.series(found.id)
    assert run.evaluation.usage.wall_seconds < 5
    assert run.evaluation.metrics == {}
    assert told.latest.non_finite == ("loss",)


async def test_a_rejected_run_counts_for_budget_and_patience_as_any_failure(laboratory):
    await with_baseline(laboratory, seeds=(0,))
    before = await campaigns.get(laboratory.read, laboratory.campaign)
    await laboratory.run(DIVERGES)
    after = await campaigns.get(laboratory.read, laboratory.campaign)
    use = await campaigns.use(laboratory.read, after, 0.0)
    assert after.cpu_seconds > before.cpu_seconds
    assert (use.experiments, use.since_best) == (2, 1)


async def test_a_run_scored_early_has_the_score_of_what_it_had_left(laboratory):
    program = "import time\ndef loss(step, seed):\n    time.sleep(0.1)\n    return float(step)\n"
    found = await laboratory.run(program, stage="long")
    assert found.outcome is Outcome.SCORED, found.reason
    *_, run = await experiments.evaluations(laboratory.read, [found.id])
    assert run.evaluation.environment["stopped_early"].startswith("Stopped early at 50 % (step 20): loss 20 is above 6")
    assert -22 <= found.score <= -20, "what it had come to when it was stopped, not the 40 of its end"
    judged, rerun = (await verify(laboratory.workspace, found.node_id, rerun=True, gpus=())).checks
    assert (judged.standing, judged.after, judged.differences) == ("stands", found.score, ())
    assert (rerun.standing, "stopped early" in rerun.text) == ("cannot_be_checked", True)


async def test_what_a_run_tells_is_there_while_it_runs_and_gone_from_the_job_when_it_has_ended(laboratory):
    number = await laboratory.order(SLOW)
    async with laboratory.daemon():
        await until_async(lambda: list(laboratory.workspace.paths.jobs.glob("*/progress.json")))
        seen = []
        async with asyncio.timeout(30):
            while (await experiments.get(laboratory.read, number)).status is not ExperimentStatus.FINISHED:
                seen += (await progress.latest(laboratory.read, [number])).values()
                await asyncio.sleep(0.1)
    steps = [told.point.step for told in seen]
    assert steps == sorted(steps)
    assert len(set(steps)) >= 3, "about one a second of four"
    assert all(told.stage == "explore" and 0 < told.point.share <= 1 for told in seen)
    assert await progress.latest(laboratory.read, [number]) == {}
    (told,) = await laboratory.series(number)
    assert (told.lines, len(told.points), told.latest.share) == (40, 40, 1.0)


async def test_a_new_daemon_goes_on_telling_where_a_killed_one_stopped(laboratory):
    number = await laboratory.order(SLOW)
    async with laboratory.daemon():
        await until_async(lambda: list(laboratory.workspace.paths.jobs.glob("*/progress.json")))
    async with laboratory.workspace.transaction() as tx:
        await tx.execute("UPDATE jobs SET progress_json = NULL")
    async with laboratory.daemon():
        async with asyncio.timeout(10):
            while number not in await progress.latest(laboratory.read, [number]):
                await asyncio.sleep(0.05)
        found = await laboratory.finished(number)
    assert found.outcome is Outcome.SCORED
    assert [told.lines for told in await laboratory.series(number)] == [40]


async def test_a_daemon_that_was_away_at_the_end_stores_the_series_and_the_reason(laboratory):
    number = await laboratory.order(DIVERGES)
    async with laboratory.daemon():
        await until_async(lambda: list(laboratory.workspace.paths.jobs.glob("*/supervisor.pid")))
    await until_async(lambda: list(laboratory.workspace.paths.jobs.glob("*/exit.json")))
    async with laboratory.daemon():
        found = await laboratory.finished(number)
    assert found.outcome is Outcome.REJECTED
    assert [told.latest.non_finite for told in await laboratory.series(number)] == [("loss",)]


async def test_progress_torn_by_a_power_cut_costs_only_itself(laboratory):
    number = await laboratory.order(SLOW)
    async with laboratory.daemon():
        (told,) = await until_async(lambda: list(laboratory.workspace.paths.jobs.glob("*/progress.json")))
        with contextlib.suppress(FileNotFoundError):
            told.with_name(".progress.json").unlink()
        told.with_name(".progress.json").mkdir()  # the supervisor writes there first: it cannot mend the file
        told.write_text('{"points": [')
        found = await laboratory.finished(number)
    assert found.outcome is Outcome.SCORED
    assert await laboratory.series(number) == [None]


async def test_a_control_that_the_baseline_tells_is_the_least_bound(tmp_path):
    folder = Path(shutil.copytree(FALLING_DOMAIN, tmp_path / "falling"))
    spec = (folder / "domain.toml").read_text()
    (folder / "domain.toml").write_text(spec.replace("min_sd = 0.1\n", 'min_sd = 0.1\ncontrol = "without"\n'))
    harness = (folder / "harness.py").read_text()
    told = '"loss": losses[-1]'
    (folder / "harness.py").write_text(harness.replace(told, f'{told}, "without": 2.5 * losses[-1]'))
    async with open_workspace(tmp_path / "workspace") as workspace:
        laboratory = await campaign_on(workspace, folder)
        await with_baseline(laboratory)
        assert (await laboratory.run(FALLING.format(scale=20.0))).outcome is Outcome.SCORED
        found = await laboratory.run(FALLING.format(scale=30.0))
    assert found.outcome is Outcome.REJECTED
    assert "loss 3 is above 2.525 (the baseline's control, without, 3 seeds)" in found.reason
