"""The queue: each experiment starts once, each job is settled once, and cancelling never costs a result."""

import asyncio
import time

import aiosqlite
import pytest
from asi_evolve.database import campaigns, events, experiments, nodes
from asi_evolve.database.connection import Reader, find_driver
from asi_evolve.database.experiments import StoredFile
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.errors import NotFound
from asi_evolve.evolution.models import Evaluation, Quarantine
from asi_evolve.evolution.outcomes import ExperimentStatus, LimitHit, Outcome, ResourceUsage
from asi_evolve.evolution.statistics import mean

pytestmark = pytest.mark.anyio


def evaluation(experiment, **changes):
    fields = {
        "experiment_id": experiment,
        "stage": "explore",
        "seed": 0,
        "outcome": Outcome.SCORED,
        "reason": "",
        "score": 2.5,
        "metrics": {"sum": 2.5, "gap": 0.1},
        "limit": None,
        "usage": ResourceUsage(cpu_seconds=3.0, wall_seconds=4.0, gpu_seconds=1.0, peak_memory_mb=50.0, peak_pids=2),
        "environment": {"python": "3.11"},
        "started_at": 1.0,
        "finished_at": 5.0,
    }
    return Evaluation(**fields | changes)


class Queue:
    """One call per transaction."""

    def __init__(self, desk):
        self.desk, self.read = desk, desk.read

    async def __call__(self, function, *arguments, **more):
        async with self.desk.workspace.transaction() as tx:
            return await function(tx, *arguments, **more)

    async def order(self, campaign, node=None, **more):
        node = node if node is not None else await self.desk.node(campaign)
        order = {"campaign_id": campaign, "node_id": node, "stage": "explore", "seeds": [0, 1]} | more
        return await self(experiments.enqueue, **order)

    async def job(self, experiment, token="secret", **more):
        order = {"experiment_id": experiment, "stage": "explore", "seed": 0, "token": token, "cpus": 1, "gpus": []}
        return await self(experiments.order_job, **order | more)

    async def running(self, campaign):
        number = await self.order(campaign)
        assert await self(experiments.start, number)
        return number


@pytest.fixture
def queue(desk):
    return Queue(desk)


async def test_an_experiment_waits_in_the_queue_with_its_node(desk, queue):
    campaign = await desk.campaign()
    node = await desk.node(campaign)
    first, second = await queue.order(campaign, node), await queue.order(campaign)
    assert [waiting.id for waiting in await experiments.queued(desk.read, 10)] == [first, second]
    assert [waiting.id for waiting in await experiments.queued(desk.read, 1)] == [first]
    waiting = await experiments.get(desk.read, first)
    assert (waiting.node_id, waiting.stage, waiting.seeds) == (node, "explore", (0, 1))
    assert waiting.status is (await nodes.get(desk.read, node)).status is ExperimentStatus.QUEUED
    assert waiting.started_at is waiting.finished_at is waiting.outcome is None


async def test_an_experiment_starts_only_once(desk, queue):
    number = await queue.order(await desk.campaign())
    async with open_workspace(desk.workspace.paths.root) as other:

        async def start(place):
            async with place.transaction() as tx:
                return await experiments.start(tx, number)

        taken = await asyncio.gather(*(start(place) for place in (desk.workspace, other) for _ in range(4)))
    assert sorted(taken) == [False] * 7 + [True]
    started = await experiments.get(desk.read, number)
    assert started.status is ExperimentStatus.RUNNING
    assert started.started_at is not None
    assert (await nodes.get(desk.read, started.node_id)).status is ExperimentStatus.RUNNING
    assert await experiments.queued(desk.read, 10) == []


async def test_an_experiment_that_is_sent_back_keeps_its_place_and_when_it_first_started(desk, queue):
    campaign = await desk.campaign()
    number, later = await queue.running(campaign), await queue.order(campaign)
    first_start = (await experiments.get(desk.read, number)).started_at
    await queue(experiments.requeue, number)
    assert [waiting.id for waiting in await experiments.queued(desk.read, 10)] == [number, later]
    assert await queue(experiments.start, number)
    assert (await experiments.get(desk.read, number)).started_at == first_start


async def test_a_job_is_settled_once_with_everything_that_came_of_it(desk, queue):
    campaign = await desk.campaign()
    number = await queue.running(campaign)
    job = await queue.job(number, cpus=2, gpus=[1, 3])
    assert await experiments.jobs(desk.read) == [job]
    assert (job.cpus, job.gpus, job.seed) == (2, (1, 3), 0)
    assert (await experiments.get(desk.read, number)).current_stage == "explore"
    told = evaluation(number)
    plot = StoredFile("plot.svg", "image/svg+xml", "ab" * 32, 10)
    assert await queue(experiments.settle_job, job, told, {"stdout": "hello", "stderr": ""}, [plot])
    assert not await queue(experiments.settle_job, job, evaluation(number, score=9.9), {"stdout": "again"}, [])
    (stored,) = await experiments.evaluations(desk.read, [number])
    assert stored.evaluation == told
    assert await experiments.log(desk.read, stored.id) == {"stdout": "hello"}
    assert await experiments.artifacts(desk.read, stored.id) == [plot]
    assert await experiments.jobs(desk.read) == []
    used = await campaigns.get(desk.read, campaign)
    assert (used.cpu_seconds, used.gpu_seconds) == (3.0, 1.0)


async def test_a_supervisor_with_another_token_settles_nothing(desk, queue):
    campaign = await desk.campaign()
    number = await queue.running(campaign)
    job = await queue.job(number, token="of the old daemon")
    async with desk.workspace.transaction() as tx:
        await tx.execute("UPDATE jobs SET token = 'of the new daemon' WHERE id = ?", (job.id,))
    assert not await queue(experiments.settle_job, job, evaluation(number), {}, [])
    assert await experiments.evaluations(desk.read, [number]) == []
    assert len(await experiments.jobs(desk.read)) == 1
    assert (await campaigns.get(desk.read, campaign)).cpu_seconds == 0.0


async def test_an_experiment_has_one_job_at_a_time(desk, queue):
    number = await queue.running(await desk.campaign())
    job = await queue.job(number)
    with pytest.raises(find_driver().module.IntegrityError):
        await queue.job(number, seed=1)
    assert await experiments.jobs(desk.read) == [job]
    await queue(experiments.settle_job, job, evaluation(number), {}, [])
    following = await queue.job(number, seed=1)
    assert following.folder != job.folder


async def test_a_limit_is_read_back_as_it_was_stored(desk, queue):
    number = await queue.running(await desk.campaign())
    hit = evaluation(
        number,
        outcome=Outcome.LIMIT,
        score=None,
        metrics={},
        limit=LimitHit("cpu", 20.5, 20.0, "s"),
        reason="Out of time.",
    )
    await queue(experiments.settle_job, await queue.job(number), hit, {}, [])
    (stored,) = await experiments.evaluations(desk.read, [number])
    assert stored.evaluation == hit


async def test_an_experiment_that_finishes_hands_its_outcome_to_its_node(desk, queue):
    number = await queue.running(await desk.campaign())
    await queue(experiments.finish, number, Outcome.CANDIDATE_ERROR, "It crashed.", None)
    done = await experiments.get(desk.read, number)
    assert (done.status, done.outcome, done.reason) == (
        ExperimentStatus.FINISHED,
        Outcome.CANDIDATE_ERROR,
        "It crashed.",
    )
    assert done.finished_at >= done.started_at
    node = await nodes.get(desk.read, done.node_id)
    assert (node.status, node.outcome, node.score) == (ExperimentStatus.FINISHED, Outcome.CANDIDATE_ERROR, None)
    assert not await experiments.any_unfinished(desk.read)
    assert not await queue(experiments.start, number)


async def test_cancelling_ends_a_queued_experiment_at_once(desk, queue):
    number = await queue.order(await desk.campaign())
    done = await queue(experiments.cancel, number)
    assert (done.status, done.outcome, done.score) == (ExperimentStatus.FINISHED, Outcome.CANCELLED, None)
    assert not await queue(experiments.start, number)


async def test_cancelling_asks_a_running_experiment_to_end(desk, queue):
    number = await queue.running(await desk.campaign())
    asked = await queue(experiments.cancel, number)
    assert (asked.status, asked.cancel_requested) == (ExperimentStatus.RUNNING, True)


async def test_cancelling_leaves_a_finished_experiment_as_it_is(desk, queue):
    number = await queue.running(await desk.campaign())
    await queue(experiments.finish, number, Outcome.SCORED, "", 2.5)
    before = await experiments.get(desk.read, number)
    assert await queue(experiments.cancel, number) == before
    assert (before.outcome, before.score, before.cancel_requested) == (Outcome.SCORED, 2.5, False)


async def test_a_key_orders_one_experiment_per_campaign(desk, queue):
    campaign, other = await desk.campaign(), await desk.campaign()
    number = await queue.order(campaign, idempotency_key="round-1")
    node = await desk.node(campaign)
    with pytest.raises(find_driver().module.IntegrityError, match="UNIQUE"):
        await queue.order(campaign, node, idempotency_key="round-1")
    assert await experiments.of_node(desk.read, node) == []
    assert (await experiments.with_key(desk.read, campaign, "round-1")).id == number
    assert await experiments.with_key(desk.read, other, "round-1") is None
    foreign = await queue.order(other, idempotency_key="round-1")
    assert (await experiments.with_key(desk.read, other, "round-1")).id == foreign
    assert len({await queue.order(campaign, node), await queue.order(campaign, node)}) == 2


async def test_experiments_come_in_the_order_asked_for_and_missing_ones_are_named(desk, queue):
    campaign = await desk.campaign()
    one, two = await queue.order(campaign), await queue.order(campaign)
    assert [found.id for found in await experiments.many(desk.read, [two, one])] == [two, one]
    with pytest.raises(NotFound, match="there is no e98, e99"):
        await experiments.many(desk.read, [one, 98, 99])


async def test_the_latest_score_of_a_seed_counts(desk, queue):
    campaign = await desk.campaign()
    node = await desk.node(campaign)
    for seed, score in ((0, 1.0), (1, 2.0), (0, 3.0), (2, None)):
        number = await queue.order(campaign, node)
        job = await queue.job(number, seed=seed)
        outcome = Outcome.SCORED if score is not None else Outcome.LOST
        await queue(experiments.settle_job, job, evaluation(number, seed=seed, score=score, outcome=outcome), {}, [])
    assert await experiments.seed_scores(desk.read, node, "explore") == {0: 3.0, 1: 2.0}
    assert await experiments.seed_scores(desk.read, node, "verify") == {}


async def scored(queue, campaign, *scores, node=None, stage="explore", held=None):
    """An experiment that scored so with its seeds; its node's number. One that was held ends as rejected."""
    number = await queue.order(campaign, node, stage=stage)
    node = (await experiments.get(queue.read, number)).node_id
    await queue(experiments.start, number)
    for seed, score in enumerate(scores):
        job = await queue.job(number, stage=stage, seed=seed)
        run = evaluation(number, stage=stage, seed=seed, score=score)
        assert await queue(experiments.settle_job, job, run, {}, [])
    if held is not None:
        await queue(experiments.hold, number, held)
        await queue(experiments.finish, number, Outcome.REJECTED, "luck", None)
        return node
    await queue(experiments.finish, number, Outcome.SCORED, "", mean(scores).value)
    await queue(nodes.set_score, node, stage, mean(scores))
    return node


HELD = Quarantine(
    cause="outlier", reason="Far out", stage="explore", score=9.0, bound=None, median=1.0, seeds=(7,), former=None
)


async def test_peers_are_the_scored_nodes_by_what_they_scored_at_the_stage(desk, queue):
    campaign, other = await desk.campaign(), await desk.campaign()
    await scored(queue, campaign, 1.0)
    promoted = await scored(queue, campaign, 2.0, 3.0)
    await scored(queue, campaign, 50.0, node=promoted, stage="verify")
    await scored(queue, campaign, 60.0, stage="verify")
    await scored(queue, campaign, 9.0, held=HELD)
    await scored(queue, other, 4.0)
    own = await scored(queue, campaign, 8.0)
    found = await experiments.beaten_scores(queue.read, campaign, "explore", 8.0, but=own)
    assert sorted(found) == [1.0, 2.5]


async def test_a_score_that_is_no_new_best_beats_nobody(desk, queue):
    campaign = await desk.campaign()
    await scored(queue, campaign, 1.0)
    await scored(queue, campaign, 3.0)
    own = await scored(queue, campaign, 3.0)
    assert await experiments.beaten_scores(queue.read, campaign, "explore", 3.0, but=own) == []


async def test_what_was_held_and_refused_counts_for_nothing(desk, queue):
    campaign = await desk.campaign()
    node = await scored(queue, campaign, 9.0, 1.0, held=HELD)
    assert await experiments.seed_scores(queue.read, node, "explore") == {}
    assert await experiments.scoring_runs(queue.read, node, "explore") == []
    await scored(queue, campaign, 2.0, 3.0, node=node)
    assert await experiments.seed_scores(queue.read, node, "explore") == {0: 2.0, 1: 3.0}
    runs = await experiments.scoring_runs(queue.read, node, "explore")
    assert [(run.evaluation.seed, run.evaluation.score) for run in runs] == [(0, 2.0), (1, 3.0)]


async def test_unfinished_experiments_are_those_of_a_campaign_or_of_all(desk, queue):
    one, other = await desk.campaign(), await desk.campaign()
    mine, foreign, done = await queue.running(one), await queue.order(other), await queue.order(one)
    await queue(experiments.cancel, done)
    assert [found.id for found in await experiments.unfinished(desk.read, one)] == [mine]
    assert [found.id for found in await experiments.unfinished(desk.read)] == [mine, foreign]


async def test_the_journal_tells_what_happened_in_order(desk, queue):
    campaign = await desk.campaign()
    node = await desk.node(campaign, "fresh")
    number = await queue.order(campaign, node)
    await queue(experiments.start, number)
    await queue(experiments.finish, number, Outcome.SCORED, "", 2.5)
    journal = await events.after(desk.read, 0)
    assert [(event.kind, event.subject) for event in journal] == [
        ("campaign_started", f"c{campaign}"),
        ("node_added", f"n{node}"),
        ("experiment_queued", f"e{number}"),
        ("experiment_started", f"e{number}"),
        ("experiment_finished", f"e{number}"),
    ]
    assert [event.id for event in journal] == sorted(event.id for event in journal)
    assert journal[-1].data == {"node": f"n{node}", "outcome": "scored", "score": 2.5}
    assert await events.after(desk.read, journal[1].id) == journal[2:]
    assert await events.after(desk.read, journal[1].id, limit=2) == journal[2:4]
    assert await events.latest_id(desk.read, before=time.time()) == journal[-1].id
    assert await events.after(desk.read, journal[-1].id) == []


async def test_a_transaction_that_fails_tells_the_journal_nothing(desk, queue):
    campaign = await desk.campaign()
    newest = await events.latest_id(desk.read, before=time.time())
    with pytest.raises(NotFound):
        async with desk.workspace.transaction() as tx:
            await events.record(tx, campaign, "something", "c1")
            await experiments.get(tx, 999)
    assert await events.latest_id(desk.read, before=time.time()) == newest


async def test_the_latest_entry_before_a_time_is_found(desk):
    campaign = await desk.campaign()
    await desk.node(campaign)
    journal = await events.after(desk.read, 0)
    assert await events.latest_id(desk.read, before=journal[-1].created_at) < journal[-1].id
    assert await events.latest_id(desk.read, before=journal[0].created_at) == 0


async def test_an_empty_journal_begins_at_zero(desk):
    assert await events.latest_id(desk.read, before=time.time()) == 0
    assert await events.after(desk.read, 0) == []


async def test_what_waits_or_runs_is_found_without_a_look_at_all_that_has_ended(desk):
    campaign = await desk.campaign()
    node = await desk.node(campaign)
    async with desk.workspace.transaction() as tx:
        await tx.many(
            "INSERT INTO experiments (campaign_id, node_id, stage, seeds_json, status, created_at)"
            " VALUES (?, ?, 'explore', '[0]', 'finished', 0)",
            [(campaign, node)] * 3000,
        )
    async with desk.workspace.transaction() as tx:
        number = await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=[0])
    database, steps = desk.workspace.database, []
    async with aiosqlite.Connection(lambda: database.driver.connect(database.path), 64) as connection:
        await connection.set_progress_handler(lambda: steps.append(1), 100)
        reader = Reader(connection, database.explain)
        assert [entry.id for entry in await experiments.unfinished(reader, campaign)] == [number]
        assert [entry.id for entry in await experiments.queued(reader, 5)] == [number]
        assert await experiments.held(reader, campaign, 5) == []
    assert len(steps) < 30, "hundreds of steps of SQLite's machine"
