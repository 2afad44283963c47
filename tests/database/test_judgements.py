"""Judgements in the database: their share in a node's score, and scores of runs that are compared without it."""

import uuid

import pytest
from asi_evolve.database import experiments, judgements, migrations, nodes
from asi_evolve.database.judgements import NewJudgement
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.judging import Weighing
from asi_evolve.evolution.models import Evaluation, FormerScore, Quarantine
from asi_evolve.evolution.outcomes import Outcome, ResourceUsage
from asi_evolve.evolution.statistics import mean

pytestmark = pytest.mark.anyio

WEIGHING = Weighing(weight=0.5, worst=0.0, best=100.0)


async def settle(tx, campaign, node, stage, scores):
    """An experiment that scored so with its seeds; its number."""
    number = await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage=stage, seeds=range(len(scores)))
    await experiments.start(tx, number)
    for seed, score in enumerate(scores):
        job = await experiments.order_job(
            tx, experiment_id=number, stage=stage, seed=seed, token=uuid.uuid4().hex, cpus=1, gpus=[]
        )
        run = Evaluation(
            experiment_id=number,
            stage=stage,
            seed=seed,
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
    return number


@pytest.fixture
def scored(desk):
    async def scored(campaign, *scores, quality=None, stage="explore", weighing=WEIGHING):
        """A node that scored so, judged where a quality is given; its number."""
        node = await desk.node(campaign, uuid.uuid4().hex)
        async with desk.workspace.transaction() as tx:
            number = await settle(tx, campaign, node, stage, scores)
            await experiments.finish(tx, number, Outcome.SCORED, "", mean(scores).value)
            await judgements.rescore(tx, node, stage, weighing)
        if quality is not None:
            await judge(desk, node, quality)
        return node

    return scored


async def judge(desk, node, quality, judge="agent", model=None):
    async with desk.workspace.transaction() as tx:
        found = await nodes.get(tx, node)
        await judgements.add(tx, found, NewJudgement(judge, model, {"depth": quality}, quality, ""))
        await judgements.rescore(tx, node, found.score_stage, WEIGHING)


async def test_a_nodes_score_is_that_of_its_seeds_and_its_judges(desk, scored):
    node = await scored(await desk.campaign(), 2.0, 4.0, 6.0)
    found = await nodes.get(desk.read, node)
    assert (found.score, found.metric_score, found.unjudged) == (1.5 + 0.5, 4.0, True)
    metric = mean([2.0, 4.0, 6.0])
    assert (found.score_stderr, found.score_seeds) == (0.5 * metric.stderr, 3)
    await judge(desk, node, 0.8)
    await judge(desk, node, 0.4, "endpoint", "critic-1")
    await judge(desk, node, 0.2)
    found = await nodes.get(desk.read, node)
    assert found.judging.metric == 4.0
    assert found.judging.quality == pytest.approx(0.3)
    assert found.score == pytest.approx(0.5 * 4.0 + 0.5 * 30.0)
    stored = await judgements.of_node(desk.read, node)
    assert [(entry.judge, entry.model, entry.quality) for entry in stored] == [
        ("agent", None, 0.8),
        ("endpoint", "critic-1", 0.4),
        ("agent", None, 0.2),
    ]


async def test_without_a_rubric_a_node_has_its_metrics_score_and_no_parts(desk, scored):
    node = await scored(await desk.campaign(), 2.0, 4.0, weighing=None)
    found = await nodes.get(desk.read, node)
    assert (found.score, found.metric_score, found.judging, found.unjudged) == (3.0, 3.0, None, False)
    assert "judging" not in found.model_dump()


async def test_who_waits_for_a_judgement_is_listed_the_best_first(desk, scored):
    campaign, other = await desk.campaign(), await desk.campaign()
    low, high, _ = await scored(campaign, 1.0), await scored(campaign, 9.0), await scored(campaign, 5.0, quality=0.1)
    await scored(other, 7.0)
    await scored(campaign, 8.0, weighing=None)
    assert await judgements.unjudged(desk.read, campaign) == [high, low]
    assert await judgements.unjudged(desk.read, campaign, limit=1) == [high]


async def test_the_rank_is_the_place_on_the_leaderboard(desk, scored):
    campaign = await desk.campaign()
    for score, quality in [(1.0, 0.9), (9.0, 0.0), (5.0, 0.5), (5.0, 0.5), (3.0, 0.2)]:
        await scored(campaign, score, quality=quality)
    listed = await nodes.listed(desk.read, campaign)
    assert [await nodes.rank(desk.read, node) for node in listed] == [1, 2, 3, 4, 5]


async def test_a_score_is_compared_with_what_peers_scored_whatever_judges_say_of_them(desk, scored):
    campaign = await desk.campaign()
    await scored(campaign, 2.0, quality=1.0)  # 51 in all
    await scored(campaign, 3.0, quality=0.0)
    own = await scored(campaign, 8.0)  # 4 in all
    assert sorted(await experiments.beaten_scores(desk.read, campaign, "explore", 8.0, but=own)) == [2.0, 3.0]


async def test_a_metric_that_is_no_new_best_beats_nobody_however_badly_the_best_was_judged(desk, scored):
    campaign = await desk.campaign()
    await scored(campaign, 8.0, quality=0.0)
    await scored(campaign, 2.0, quality=1.0)
    own = await scored(campaign, 8.0, quality=1.0)
    assert await experiments.beaten_scores(desk.read, campaign, "explore", 8.0, but=own) == []


async def test_a_judged_score_comes_back_after_a_quarantine_that_ended_without_a_verdict(desk, scored):
    campaign = await desk.campaign()
    node = await scored(campaign, 2.0, 4.0, quality=0.5)
    before = await nodes.get(desk.read, node)
    former = FormerScore(
        value=before.score,
        stderr=before.score_stderr,
        seeds=before.score_seeds,
        stage=before.score_stage,
        judging=before.judging,
    )
    held = Quarantine(
        cause="outlier", reason="Far", stage="explore", score=9.0, bound=None, median=1.0, seeds=(7,), former=former
    )
    async with desk.workspace.transaction() as tx:
        number = await settle(tx, campaign, node, "explore", [90.0])
        await experiments.hold(tx, number, held)
        while_held = await nodes.get(tx, node)
        await experiments.finish(tx, number, Outcome.CANCELLED, "", None)
        after = await nodes.get(tx, node)
    assert (while_held.score, while_held.metric_score, while_held.judging) == (None, None, None)
    assert after == before


def test_a_score_that_was_held_before_there_were_judges_is_read():
    stored = '{"value": 2.0, "stderr": null, "seeds": 1, "stage": "explore"}'
    former = FormerScore.model_validate_json(stored)
    assert former.judging is None
    assert "judging" not in former.model_dump_json()


async def test_nodes_of_an_older_database_keep_their_scores_and_can_be_judged(tmp_path, monkeypatch, desk_on):
    scripts = migrations.migration_scripts()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migration_scripts", lambda: {n: sql for n, sql in scripts.items() if n < 10})
        async with open_workspace(tmp_path) as workspace, workspace.transaction() as tx:
            for statement in OLDER_NODE:
                await tx.execute(statement)
    async with open_workspace(tmp_path) as workspace:
        desk = desk_on(workspace)
        found = await nodes.get(desk.read, 1)
        assert (found.score, found.judging) == (3.0, None)
        await judge(desk, 1, 0.5)
        assert (await nodes.get(desk.read, 1)).score == 0.5 * 3.0 + 0.5 * 50.0


OLDER_NODE = [
    "INSERT INTO campaigns (id, name, goal, domain, domain_name, domain_version, settings_json, created_at)"
    " VALUES (1, 'c', '', 'd', 'd', '1', '{}', 0)",
    "INSERT INTO nodes (id, campaign_id, name, is_baseline, status, outcome, score, score_seeds, score_stage,"
    " code_bytes, fingerprint, created_at) VALUES (1, 1, 'n', 0, 'finished', 'scored', 3, 1, 'explore', 1, 'f', 0)",
    "INSERT INTO experiments (id, campaign_id, node_id, stage, seeds_json, status, outcome, score, created_at)"
    " VALUES (1, 1, 1, 'explore', '[0]', 'finished', 'scored', 3, 0)",
    "INSERT INTO evaluations (experiment_id, stage, seed, outcome, reason, score, cpu_seconds, wall_seconds,"
    " gpu_seconds, peak_memory_mb, peak_pids, environment_json, started_at, finished_at)"
    " VALUES (1, 'explore', 0, 'scored', '', 3, 0, 0, 0, 0, 1, '{}', 0, 0)",
]
"""As the program wrote it when there were no judges."""
