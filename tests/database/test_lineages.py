"""What comparisons are made of: scores by seed that count, hidden seeds, gains with tags, tries from the baseline."""

import json

import pytest
from asi_evolve.database import analyses, experiments, lineages, nodes, seeds
from asi_evolve.evolution.evidence.effects import Step
from asi_evolve.evolution.models import Evaluation, Quarantine
from asi_evolve.evolution.outcomes import Outcome, ResourceUsage
from asi_evolve.evolution.statistics import mean

pytestmark = pytest.mark.anyio


class Field:
    """Nodes that have run."""

    def __init__(self, desk):
        self.desk, self.read, self.count = desk, desk.read, 0

    async def node(self, campaign, scores=None, *, outcome=Outcome.SCORED, tags=(), stage="explore", **more):
        self.count += 1
        node = await self.desk.node(campaign, f"node {self.count}", **more)
        await self.run(campaign, node, scores or {}, outcome=outcome, stage=stage)
        if tags:
            await self.analyse(campaign, node, tags)
        return node

    async def run(self, campaign, node, scores, *, outcome=Outcome.SCORED, stage="explore", held=None):
        async with self.desk.workspace.transaction() as tx:
            number = await experiments.enqueue(
                tx, campaign_id=campaign, node_id=node, stage=stage, seeds=list(scores) or [0]
            )
            await experiments.start(tx, number)
            for seed, score in scores.items():
                job = await experiments.order_job(
                    tx, experiment_id=number, stage=stage, seed=seed, token="t", cpus=1, gpus=[]
                )
                assert await experiments.settle_job(tx, job, scored(number, stage, seed, score), {}, [])
            if held is not None:
                await experiments.hold(tx, number, held)
            await experiments.finish(tx, number, outcome, "", None)
            if outcome is Outcome.SCORED and scores:
                counted = await experiments.seed_scores(tx, node, stage)
                await nodes.set_score(tx, node, stage, mean(list(counted.values())))

    async def analyse(self, campaign, node, tags):
        async with self.desk.workspace.transaction() as tx:
            await analyses.add(tx, campaign_id=campaign, node_id=node, report="r", lessons=[], tags=tags)


def scored(experiment, stage, seed, score):
    return Evaluation(
        experiment_id=experiment,
        stage=stage,
        seed=seed,
        outcome=Outcome.SCORED,
        reason="",
        score=score,
        metrics={},
        limit=None,
        usage=ResourceUsage(),
        environment={},
        started_at=1.0,
        finished_at=2.0,
    )


def quarantine(*drawn):
    return Quarantine(
        cause="outlier", reason="r", stage="explore", score=9.0, bound=None, median=1.0, seeds=drawn, former=None
    )


@pytest.fixture
def field(desk):
    return Field(desk)


async def test_scores_are_told_by_stage_and_seed_the_latest_run_of_a_seed(desk, field):
    campaign = await desk.campaign()
    node = await field.node(campaign, {0: 1.0, 1: 2.0})
    await field.run(campaign, node, {1: 2.5, 2: 3.0})
    await field.run(campaign, node, {0: 7.0}, stage="verify")
    failed = await field.node(campaign, outcome=Outcome.LIMIT)
    found = await seeds.scores(desk.read, [node, failed])
    assert found == {node: {"explore": {0: 1.0, 1: 2.5, 2: 3.0}, "verify": {0: 7.0}}, failed: {}}
    assert list(found[node]) == ["explore", "verify"]
    assert await seeds.scores(desk.read, []) == {}


async def test_held_scores_count_once_they_are_released_and_their_seeds_stay_secret(desk, field):
    campaign = await desk.campaign()
    refused, released = await field.node(campaign, {0: 1.0}), await field.node(campaign, {0: 1.0})
    await field.run(campaign, refused, {1: 9.0, 77: 1.0}, outcome=Outcome.REJECTED, held=quarantine(77))
    await field.run(campaign, released, {1: 9.0, 88: 9.1}, held=quarantine(88))
    assert await seeds.scores(desk.read, [refused, released]) == {
        refused: {"explore": {0: 1.0}},
        released: {"explore": {0: 1.0, 1: 9.0, 88: 9.1}},
    }
    assert await seeds.hidden(desk.read, [refused, released]) == {77, 88}
    assert await seeds.hidden(desk.read, []) == set()


async def test_a_step_has_the_tags_that_are_new_and_the_gain_over_shared_seeds(desk, field):
    campaign = await desk.campaign()
    baseline = await field.node(campaign, {0: 1.0, 1: 11.0}, is_baseline=True)
    child = await field.node(campaign, {0: 3.0}, tags=["SLSQP", "multi  start"], parents=[baseline])
    await field.node(campaign, {0: 4.0, 1: 5.0}, tags=["slsqp", "Jitter"], parents=[child, baseline])
    assert (await lineages.steps(desk.read, campaign)).known == [
        Step(frozenset({"jitter"}), 1.0, failed=False),
        Step(frozenset({"slsqp", "multi start"}), 2.0, failed=False),
    ]


async def test_the_latest_analysis_counts_and_one_without_tags_says_nothing(desk, field):
    campaign = await desk.campaign()
    baseline = await field.node(campaign, {0: 1.0}, is_baseline=True)
    twice = await field.node(campaign, {0: 2.0}, tags=["old"], parents=[baseline])
    await field.analyse(campaign, twice, ["new"])
    untagged = await field.node(campaign, {0: 3.0}, parents=[baseline])
    await field.node(campaign, {0: 9.0}, tags=["a"], parents=[untagged])
    found = await lineages.steps(desk.read, campaign)
    assert found.known == [Step(frozenset({"new"}), 1.0, failed=False)]
    assert found.looked_at == 3


async def test_a_failure_is_a_step_without_gain_and_what_the_machine_broke_is_none(desk, field):
    campaign = await desk.campaign()
    baseline = await field.node(campaign, {0: 1.0}, is_baseline=True)
    await field.node(campaign, outcome=Outcome.LIMIT, tags=["a"], parents=[baseline])
    await field.node(campaign, outcome=Outcome.LOST, tags=["a"], parents=[baseline])
    waiting = await desk.node(campaign, "waits", parents=[baseline])
    await field.analyse(campaign, waiting, ["a"])
    assert (await lineages.steps(desk.read, campaign)).known == [Step(frozenset({"a"}), None, failed=True)]


async def test_scores_of_different_stages_are_no_gain_but_a_parent_that_moved_on_is_still_one(desk, field):
    campaign = await desk.campaign()
    baseline = await field.node(campaign, {0: 1.0}, is_baseline=True)
    await field.run(campaign, baseline, {0: 50.0}, stage="verify")
    await field.node(campaign, {0: 3.0}, tags=["a"], parents=[baseline])
    await field.node(campaign, {0: 3.0}, tags=["b"], parents=[baseline], stage="final")
    assert (await lineages.steps(desk.read, campaign)).known == [
        Step(frozenset({"b"}), None, failed=False),
        Step(frozenset({"a"}), 2.0, failed=False),
    ]


async def test_tries_from_the_baseline_have_no_other_parent(desk, field):
    campaign, other = await desk.campaign(), await desk.campaign()
    baseline = await field.node(campaign, {0: 1.0, 1: 2.0}, is_baseline=True)
    elsewhere = await field.node(other, {0: 1.0}, is_baseline=True)
    await field.node(other, {0: 99.0}, parents=[elsewhere])
    first = await field.node(campaign, {0: 3.0}, parents=[baseline])
    await field.node(campaign, outcome=Outcome.CANDIDATE_ERROR, parents=[baseline])
    await field.node(campaign, outcome=Outcome.CANCELLED, parents=[baseline])
    lucky = await field.node(campaign, {0: 8.0}, parents=[baseline])
    await field.run(campaign, lucky, {}, outcome=Outcome.LIMIT)
    promoted = await field.node(campaign, {0: 5.0, 1: 6.0}, parents=[first, baseline])
    await field.run(campaign, promoted, {0: 100.0}, stage="verify")
    await field.node(campaign, {0: 2.0})
    told = await lineages.tries_from_baseline(desk.read, campaign)
    assert (told.stage, told.baseline) == ("explore", 1.5)
    assert told.tries == [None, None, 3.0], "a program that fails with another seed found nothing"
    assert told.best == 5.5, "at the stage of the tries, also of a node that has moved on"
    assert told.candidates == 5


async def test_without_a_scored_try_or_baseline_there_is_nothing_to_say(desk, field):
    campaign = await desk.campaign()
    assert await lineages.tries_from_baseline(desk.read, campaign) is None
    baseline = await field.node(campaign, outcome=Outcome.LIMIT, is_baseline=True)
    await field.node(campaign, outcome=Outcome.LIMIT, parents=[baseline])
    assert await lineages.tries_from_baseline(desk.read, campaign) is None
    await field.node(campaign, {0: 2.0}, parents=[baseline])
    assert await lineages.tries_from_baseline(desk.read, campaign) is None


async def test_a_long_campaign_is_read_up_to_a_bound_the_newest_first(desk, field):
    campaign = await desk.campaign()
    baseline = await field.node(campaign, {0: 1.0}, is_baseline=True)
    stored = (await desk.read.one("SELECT * FROM nodes WHERE id = ?", (baseline,)))["created_at"]
    async with desk.workspace.transaction() as tx:
        count = lineages.NEWEST + 5
        await tx.many(
            "INSERT INTO nodes (id, campaign_id, name, is_baseline, status, outcome, code_bytes, fingerprint,"
            " created_at) VALUES (?, ?, 'n', 0, 'finished', 'limit', 1, ?, ?)",
            [(10 + place, campaign, str(place), stored) for place in range(count)],
        )
        await tx.many(
            "INSERT INTO lineage (node_id, position, parent_id) VALUES (?, 0, ?)",
            [(10 + place, baseline) for place in range(count)],
        )
        await tx.many(
            "INSERT INTO analyses (campaign_id, node_id, report, tags_json, created_at) VALUES (?, ?, 'r', ?, 0)",
            [(campaign, 10 + place, json.dumps(["early" if place < 5 else "late"])) for place in range(count)],
        )
    found = await lineages.steps(desk.read, campaign)
    assert found.looked_at == len(found.known) == lineages.NEWEST
    assert {tag for step in found.known for tag in step.tags} == {"late"}
