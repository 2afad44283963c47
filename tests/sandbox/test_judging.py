"""A domain with a rubric and a real daemon: runs have the metric's score, nodes what judges make of it."""

from pathlib import Path

import pytest
from asi_evolve.database import experiments, judgements, nodes
from asi_evolve.database.judgements import NewJudgement
from asi_evolve.database.workspace import open_workspace
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.models import Judging
from asi_evolve.evolution.outcomes import Outcome

from .engineering import add_campaign, at_work, daemon, finished

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("isolation")]

ESSAY_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "essay"
WEIGHING = load_domain(ESSAY_DOMAIN).spec.judge.weighing


@pytest.fixture
async def workspace(tmp_path):
    async with open_workspace(tmp_path / "workspace") as opened:
        yield opened


async def write(workspace, campaign, words, lucky=0):
    """Order a program that writes so many different words, with seed 1 more where it is lucky; (its experiment's
    number, its own)."""
    program = f"def essay(seed):\n    return ' '.join('a' * (n + 1) for n in range({words} + {lucky} * (seed == 1)))\n"
    async with workspace.transaction() as tx:
        node = await nodes.add(tx, nodes.NewNode(campaign, "n", "m", {"essay.py": program}, program))
        return await order(tx, campaign, node, "explore", [0]), node


async def order(tx, campaign, node, stage, seeds):
    return await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage=stage, seeds=seeds)


async def judge(workspace, node, quality):
    async with workspace.transaction() as tx:
        found = await nodes.get(tx, node)
        await judgements.add(tx, found, NewJudgement("agent", None, {}, quality, ""))
        await judgements.rescore(tx, node, found.score_stage, WEIGHING)


async def test_the_daemon_scores_a_node_by_metric_and_judgement(workspace):
    async with workspace.transaction() as tx:
        campaign = await add_campaign(tx, ESSAY_DOMAIN, name="essay")
    number, node = await write(workspace, campaign, 8)
    async with at_work(daemon(workspace)):
        experiment = await finished(workspace, number)
        assert (experiment.outcome, experiment.score) == (Outcome.SCORED, 8.0)
        found = await nodes.get(workspace.read, node)
        assert (found.score, found.judging) == (0.75 * 8, Judging(metric=8.0, quality=None))
        await judge(workspace, node, 0.5)
        async with workspace.transaction() as tx:
            again = await order(tx, campaign, node, "verify", [1, 2])
        assert (await finished(workspace, again)).score == 8.0
    found = await nodes.get(workspace.read, node)
    assert (found.score, found.score_stage) == (0.75 * 8 + 0.25 * 20, "verify")
    assert found.judging == Judging(metric=8.0, quality=0.5)


async def test_what_judges_say_neither_holds_a_score_nor_hides_one_that_is_too_good(workspace):
    async with workspace.transaction() as tx:
        campaign = await add_campaign(tx, ESSAY_DOMAIN, name="essay")
    peers = [await write(workspace, campaign, words) for words in range(10, 20)]
    async with at_work(daemon(workspace)):
        for number, _ in peers:
            assert (await finished(workspace, number)).quarantine is None
        for place, (_, node) in enumerate(peers):
            await judge(workspace, node, float(place == 0))  # one far above by marks, the others on the floor
        usual, _ = await write(workspace, campaign, 20)
        assert (await finished(workspace, usual)).quarantine is None
        best = (await nodes.listed(workspace.read, campaign, limit=1))[0]
        assert best.id == peers[0][1]
        far, node = await write(workspace, campaign, 120)
        held = await finished(workspace, far)
        first, lucky = await write(workspace, campaign, 15, lucky=120)
        assert (await finished(workspace, first)).score == 15.0
        await judge(workspace, lucky, 0.5)
        async with workspace.transaction() as tx:
            again = await order(tx, campaign, lucky, "explore", [1])
        refused = await finished(workspace, again)
    assert (held.quarantine.cause, held.quarantine.score, held.outcome) == ("outlier", 120.0, Outcome.SCORED)
    assert (await nodes.get(workspace.read, node)).metric_score == 120.0
    former = refused.quarantine.former
    assert (refused.outcome, former.value, former.judging) == (
        Outcome.REJECTED,
        0.75 * 15 + 0.25 * 20,
        Judging(metric=15.0, quality=0.5),
    )
