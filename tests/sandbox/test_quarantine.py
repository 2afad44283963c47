"""Scores that the daemon holds: what is seen of them meanwhile, and how they come out."""

import asyncio
import contextlib
import json
import random
import shutil
import sys
import uuid
from pathlib import Path

import pytest
from asi_evolve.database import campaigns, experiments, nodes
from asi_evolve.database.population import ScoredNodes
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.models import Evaluation
from asi_evolve.evolution.outcomes import ExperimentStatus, Outcome, ResourceUsage
from asi_evolve.evolution.samplers import make_sampler
from asi_evolve.evolution.statistics import Mean
from asi_evolve.sandbox.engineer import Engineer
from asi_evolve.sandbox.flights import Slots

from ..waiting import until_async
from .engineering import add_campaign

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("isolation")]

NUMBER_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "number"
POPULATION = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9]
ALWAYS_30 = "return 30.0"
ONLY_WITH_SEED_0 = "return 30.0 if seed == 0 else 1.5"
SLOW_REPEATS = "time.sleep(0 if seed == 0 else 2)\n    return 30.0"


@pytest.fixture
async def workspace(tmp_path):
    async with open_workspace(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def own_domain(tmp_path):
    """A way to change a copy of the number domain; returns its folder."""
    folder = Path(shutil.copytree(NUMBER_DOMAIN, tmp_path / "number"))

    def change(old, new):
        spec = folder / "domain.toml"
        assert old in spec.read_text()
        spec.write_text(spec.read_text().replace(old, new))
        return folder

    return change


def with_bound(own_domain, bound):
    return own_domain('metric = "value"\n', f'metric = "value"\nproven_bound = {bound}\n')


async def start(workspace, domain=NUMBER_DOMAIN, population=POPULATION):
    """A campaign with scored nodes; its number."""
    async with workspace.transaction() as tx:
        campaign = await add_campaign(tx, domain, python=sys.executable)
        for score in population:
            await add_scored_node(tx, campaign, score)
        return campaign


async def add_scored_node(tx, campaign, score):
    """A node as an earlier daemon left it."""
    node = await add_node(tx, campaign, f"return {score}")
    number = await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=[0])
    await experiments.start(tx, number)
    job = await experiments.order_job(
        tx, experiment_id=number, stage="explore", seed=0, token=uuid.uuid4().hex, cpus=1, gpus=[]
    )
    run = Evaluation(
        experiment_id=number,
        stage="explore",
        seed=0,
        outcome=Outcome.SCORED,
        reason="",
        score=score,
        metrics={"value": score},
        limit=None,
        usage=ResourceUsage(),
        environment={},
        started_at=0.0,
        finished_at=1.0,
    )
    assert await experiments.settle_job(tx, job, run, {}, [])
    await experiments.finish(tx, number, Outcome.SCORED, "", score)
    await nodes.set_score(tx, node, "explore", Mean(score, None, 1))


async def add_node(tx, campaign, body):
    program = f"import time\ndef number(seed):\n    {body}\n"
    return await nodes.add(tx, nodes.NewNode(campaign, "n", "m", {"number.py": program}, program))


async def order(workspace, campaign, body, seeds=(0,), node=None):
    """Queue an experiment on a new program, or on a node; (its number, its node's)."""
    async with workspace.transaction() as tx:
        node = node or await add_node(tx, campaign, body)
        number = await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=seeds)
        return number, node


@contextlib.asynccontextmanager
async def at_work(workspace, slots=2):
    """A daemon works meanwhile; at the end it is gone as if it had been killed."""
    work = asyncio.create_task(Engineer(workspace, Slots(slots, ()), idle_seconds=30).run())
    try:
        yield
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def reached(workspace, number, status, seconds=30.0):
    async with asyncio.timeout(seconds):
        while (found := await experiments.get(workspace.read, number)).status is not status:
            assert found.status is not ExperimentStatus.FINISHED, found
            await asyncio.sleep(0.01)
    return found


async def finished(workspace, number):
    found = await reached(workspace, number, ExperimentStatus.FINISHED)
    await until_async(lambda: not list(workspace.paths.jobs.glob(f"e{number}-*")))
    return found


async def runs(workspace, number):
    return [stored.evaluation for stored in await experiments.evaluations(workspace.read, [number])]


async def test_an_outlier_is_held_repeated_with_seeds_nobody_can_know_and_released(workspace):
    campaign = await start(workspace)
    number, node = await order(workspace, campaign, ALWAYS_30)
    async with at_work(workspace):
        found = await finished(workspace, number)
    assert (found.outcome, found.score) == (Outcome.SCORED, 30.0), found.reason
    assert "released" in found.reason
    assert found.quarantine.cause == "outlier"
    ran = await runs(workspace, number)
    assert [run.seed for run in ran] == [0, *found.quarantine.seeds]
    assert len(found.quarantine.seeds) == 2
    assert max(found.quarantine.seeds) > 64, "drawn from all of 31 bits"
    stands = await nodes.get(workspace.read, node)
    assert (stands.status, stands.score, stands.score_seeds) == (ExperimentStatus.FINISHED, 30.0, 3)


async def test_the_same_search_twice_holds_with_different_seeds(workspace):
    seen = set()
    async with at_work(workspace):
        for _ in range(2):
            number, _ = await order(workspace, await start(workspace), ALWAYS_30)
            seen |= set((await finished(workspace, number)).quarantine.seeds)
    assert len(seen) == 4


async def test_while_a_score_is_held_nothing_builds_on_its_node_or_ranks_it(workspace):
    campaign = await start(workspace)
    number, node = await order(workspace, campaign, SLOW_REPEATS)
    async with at_work(workspace):
        held = await reached(workspace, number, ExperimentStatus.QUARANTINED)
        assert held.score is None
        assert held.reason.startswith("Held: Scored 30, ")
        subject = await nodes.get(workspace.read, node)
        assert (subject.status, subject.outcome, subject.score) == (ExperimentStatus.QUARANTINED, None, None)
        assert (await nodes.listed(workspace.read, campaign, limit=1))[0].score == 1.9
        population = ScoredNodes(workspace.read, campaign)
        for name in ("ucb1", "greedy", "random"):
            drawn = await make_sampler(name).choose(population, 100, random.Random(0))
            assert len(drawn) == len(POPULATION)
            assert node not in {choice.member.id for choice in drawn}
        use = await campaigns.use(workspace.read, await campaigns.get(workspace.read, campaign), 0.0)
        assert (use.best_score, use.since_best) == (1.9, 0), "neither a new best nor one more without"
        assert (await nodes.outcome_counts(workspace.read, campaign))["quarantined"] == 1
        assert [entry.id for entry in await nodes.listed(workspace.read, campaign, outcome="quarantined")] == [node]
        assert (await finished(workspace, number)).outcome is Outcome.SCORED
    assert (await nodes.listed(workspace.read, campaign, limit=1))[0].id == node


async def test_luck_with_the_seed_is_refused_and_never_counts(workspace):
    campaign = await start(workspace)
    number, node = await order(workspace, campaign, ONLY_WITH_SEED_0)
    async with at_work(workspace):
        found = await finished(workspace, number)
        assert (found.outcome, found.score) == (Outcome.REJECTED, None)
        assert "it scored 1.5, 1.5" in found.reason
        subject = await nodes.get(workspace.read, node)
        assert (subject.outcome, subject.score) == (Outcome.REJECTED, None)
        assert [run.score for run in await runs(workspace, number)] == [30.0, 1.5, 1.5], "what ran stays stored"
        again, _ = await order(workspace, campaign, "", seeds=[5], node=node)
        assert (await finished(workspace, again)).score == 1.5
    assert (await nodes.get(workspace.read, node)).score == 1.5, "the refused runs are not in the mean"


async def test_a_candidate_that_fails_with_the_other_seeds_is_refused(workspace):
    campaign = await start(workspace)
    number, _ = await order(workspace, campaign, "return 30.0 if seed == 0 else 1 / 0")
    async with at_work(workspace):
        found = await finished(workspace, number)
    assert (found.outcome, found.score) == (Outcome.REJECTED, None)
    assert "candidate_error" in found.reason
    assert "division by zero" in found.reason
    assert len(await runs(workspace, number)) == 2, "one failure is enough"


async def test_a_score_above_the_proven_bound_is_refused_also_when_it_comes_again(workspace, own_domain):
    campaign = await start(workspace, with_bound(own_domain, 20), population=[])
    number, node = await order(workspace, campaign, ALWAYS_30)
    async with at_work(workspace):
        found = await finished(workspace, number)
    assert (found.outcome, found.quarantine.cause) == (Outcome.REJECTED, "bound")
    assert "above the proven bound 20" in found.reason
    assert "again above the bound" in found.reason
    assert (await nodes.get(workspace.read, node)).score is None


async def test_the_bound_of_a_metric_that_is_minimised_is_its_least(workspace, own_domain):
    folder = with_bound(own_domain, 3)
    own_domain('metric = "value"\n', 'metric = "value"\ndirection = "minimize"\n')
    campaign = await start(workspace, folder, population=[])
    honest, _ = await order(workspace, campaign, "return 3.0")
    impossible, _ = await order(workspace, campaign, "return 2.5")
    async with at_work(workspace):
        assert (await finished(workspace, honest)).score == -3.0
        assert (await finished(workspace, impossible)).outcome is Outcome.REJECTED


async def test_a_domain_can_turn_it_off(workspace, own_domain):
    with_bound(own_domain, 20)
    folder = own_domain("[fitness]\n", "[quarantine]\nenabled = false\n\n[fitness]\n")
    number, _ = await order(workspace, await start(workspace, folder), ALWAYS_30)
    async with at_work(workspace):
        found = await finished(workspace, number)
    assert (found.outcome, found.score, found.quarantine) == (Outcome.SCORED, 30.0, None)


async def test_a_daemon_killed_while_a_score_is_held_loses_and_doubles_nothing(workspace):
    campaign = await start(workspace)
    number, _ = await order(workspace, campaign, SLOW_REPEATS)
    async with at_work(workspace):
        held = await reached(workspace, number, ExperimentStatus.QUARANTINED)
        await until_async(lambda: list(workspace.paths.jobs.glob("*/supervisor.pid")))
    assert (await experiments.get(workspace.read, number)).status is ExperimentStatus.QUARANTINED
    async with at_work(workspace):
        found = await finished(workspace, number)
    assert (found.outcome, found.score) == (Outcome.SCORED, 30.0)
    assert found.quarantine == held.quarantine, "the same seeds"
    assert [run.seed for run in await runs(workspace, number)] == [0, *held.quarantine.seeds]


async def held_and_waiting(workspace, campaign):
    """A held experiment without a job, as one whose next repeat waits for a slot; its number."""
    async with at_work(workspace):
        done, node = await order(workspace, campaign, ALWAYS_30)
        quarantine = (await finished(workspace, done)).quarantine
    async with workspace.transaction() as tx:
        number = await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=[1])
        assert await experiments.start(tx, number)
        await experiments.hold(tx, number, quarantine.model_copy(update={"seeds": (901, 902)}))
        await experiments.requeue(tx, number)
    return number


async def test_a_held_experiment_that_waits_for_room_stays_held_and_goes_on_where_it_was(workspace):
    number = await held_and_waiting(workspace, await start(workspace))
    assert (await experiments.get(workspace.read, number)).status is ExperimentStatus.QUARANTINED
    async with at_work(workspace):
        assert (await finished(workspace, number)).outcome is Outcome.SCORED
    assert [run.seed for run in await runs(workspace, number)] == [901, 902]


async def test_a_held_experiment_that_waits_for_room_can_be_cancelled_at_once(workspace):
    number = await held_and_waiting(workspace, await start(workspace))
    async with workspace.transaction() as tx:
        assert (await experiments.cancel(tx, number)).outcome is Outcome.CANCELLED


async def test_repeats_wait_for_slots_that_another_experiment_holds(workspace, own_domain):
    folder = own_domain('name = "explore"\n', 'name = "explore"\ncpus = 2\n')
    campaign = await start(workspace, folder)
    number, _ = await order(workspace, campaign, ALWAYS_30)
    others = [(await order(workspace, campaign, f"time.sleep(0.3)\n    return 1.{place}"))[0] for place in range(3)]
    async with at_work(workspace, slots=2):
        found = await finished(workspace, number)
        assert [(await finished(workspace, other)).outcome for other in others] == [Outcome.SCORED] * 3
    assert (found.outcome, found.score) == (Outcome.SCORED, 30.0)
    assert [run.seed for run in await runs(workspace, number)] == [0, *found.quarantine.seeds]


async def test_a_node_that_had_a_score_has_none_while_a_later_one_is_held_and_gets_it_back(workspace):
    campaign = await start(workspace)
    body = "time.sleep(0 if seed < 2 else 5)\n    return 1.5 if seed == 0 else 30.0"
    first, node = await order(workspace, campaign, body)
    async with at_work(workspace):
        assert (await finished(workspace, first)).score == 1.5
        later, _ = await order(workspace, campaign, "", seeds=[1], node=node)
        held = await reached(workspace, later, ExperimentStatus.QUARANTINED)
        assert held.quarantine.former.value == 1.5
        assert (await nodes.get(workspace.read, node)).score is None
        async with workspace.transaction() as tx:
            await experiments.cancel(tx, later)
        assert (await finished(workspace, later)).outcome is Outcome.CANCELLED
        subject = await nodes.get(workspace.read, node)
        assert (subject.outcome, subject.score, subject.score_stage) == (Outcome.SCORED, 1.5, "explore")


async def test_what_was_held_is_in_the_journal(workspace):
    campaign = await start(workspace)
    number, node = await order(workspace, campaign, ALWAYS_30)
    async with at_work(workspace):
        await finished(workspace, number)
    rows = await workspace.read.all("SELECT kind, data_json FROM events WHERE subject = ? ORDER BY id", (f"e{number}",))
    assert [row["kind"] for row in rows] == [
        "experiment_queued",
        "experiment_started",
        "experiment_quarantined",
        "experiment_finished",
    ]
    assert json.loads(rows[2]["data_json"]) == {"node": f"n{node}", "cause": "outlier", "score": 30.0}


ALARM = '[[quarantine.alarms]]\nmetric = "value"\ndirection = "maximize"\nmargin = 0.5\n\n[fitness]\n'


@pytest.mark.parametrize(
    ("body", "outcome", "score"),
    [("return 8.0", Outcome.SCORED, 8.0), ("return 8.0 if seed == 0 else 3.0", Outcome.REJECTED, None)],
)
async def test_a_metric_far_better_than_any_before_rings_an_alarm(workspace, own_domain, body, outcome, score):
    campaign = await start(workspace, own_domain("[fitness]\n", ALARM), population=[1.0, 2.0])
    usual, _ = await order(workspace, campaign, "return 2.9")
    async with at_work(workspace):
        assert (await finished(workspace, usual)).quarantine is None, "45 % better than the best"
        number, node = await order(workspace, campaign, body)
        found = await finished(workspace, number)
    assert (found.outcome, found.score) == (outcome, score), found.reason
    assert found.quarantine.cause == "alarm"
    assert (found.quarantine.alarm.best, found.quarantine.alarm.value) == (2.9, 8.0)
    assert "Its value, 8, is better than the best so far, 2.9, by more than 50% of that" in found.reason
    assert (await nodes.get(workspace.read, node)).score == (score)


async def test_an_alarm_knows_nothing_of_other_campaigns_stages_and_refused_scores(workspace, own_domain):
    folder = own_domain("[fitness]\n", ALARM)
    await start(workspace, folder, population=[9.0])
    campaign = await start(workspace, folder, population=[])
    first, _ = await order(workspace, campaign, "return 1.0")
    lucky, _ = await order(workspace, campaign, "return 9.0 if seed == 0 else 1.0")
    async with at_work(workspace, slots=1):
        assert (await finished(workspace, first)).quarantine is None, "nothing to compare with"
        assert (await finished(workspace, lucky)).outcome is Outcome.REJECTED
        third, _ = await order(workspace, campaign, "return 2.0")
        assert (await finished(workspace, third)).quarantine.alarm.best == 1.0
