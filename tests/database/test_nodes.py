"""What is kept of a candidate, of its analysis, of knowledge and of a campaign, and how it is listed."""

import dataclasses

import pytest
from asi_evolve.database import analyses, campaigns, cognition, experiments, nodes
from asi_evolve.evolution.budgets import BudgetUse
from asi_evolve.evolution.errors import NotFound
from asi_evolve.evolution.models import Budget, CampaignSettings, CognitionOrigin
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.evolution.statistics import Mean

pytestmark = pytest.mark.anyio


async def finish(desk, campaign, node, outcome=Outcome.SCORED, score=None):
    async with desk.workspace.transaction() as tx:
        number = await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=[0])
        await experiments.finish(tx, number, outcome, "", score)
        if score is not None:
            await nodes.set_score(tx, node, "explore", Mean(score, None, 1))


async def test_a_node_is_kept_with_files_lineage_motivation_and_inspirations(desk):
    campaign = await desk.campaign()
    first, second = await desk.node(campaign, "first"), await desk.node(campaign, "second")
    files = {"b/c.py": "é = 1\n", "a.py": "x\r\n"}
    number = await desk.node(
        campaign,
        "child",
        "because",
        files=files,
        parents=[second, first],
        inspired_by=[("k", 9), ("n", first), ("k", 9)],
    )
    node = await nodes.get(desk.read, number)
    assert (node.name, node.parents, node.visits, node.score) == ("child", (second, first), 0, None)
    assert node.code_bytes == sum(len(text.encode()) for text in files.values())
    assert await nodes.files(desk.read, number) == files
    assert await nodes.motivations(desk.read, [number]) == {number: "because"}
    assert await nodes.inspirations(desk.read, number) == ["k9", f"n{first}"]
    assert await nodes.children(desk.read, first) == await nodes.children(desk.read, second) == [number]


async def test_nodes_come_in_the_order_asked_for_and_missing_ones_are_named(desk):
    campaign = await desk.campaign()
    one, two = await desk.node(campaign, "one"), await desk.node(campaign, "two")
    assert [node.id for node in await nodes.many(desk.read, [two, one])] == [two, one]
    assert await nodes.many(desk.read, []) == []
    with pytest.raises(NotFound, match="there is no n8, n9"):
        await nodes.many(desk.read, [one, 8, 9])


async def test_a_twin_is_found_in_its_campaign_alone(desk):
    campaign, other = await desk.campaign(), await desk.campaign()
    oldest = await desk.node(campaign, "one", fingerprint="same")
    await desk.node(campaign, "two", fingerprint="same")
    assert await nodes.with_fingerprint(desk.read, campaign, "same") == oldest
    assert await nodes.with_fingerprint(desk.read, other, "same") is None


async def test_the_leaderboard_puts_the_best_first_and_nodes_without_score_last(desk):
    campaign = await desk.campaign()
    numbers = [await desk.node(campaign, f"node {place}") for place in range(5)]
    for number, score in zip(numbers, (1.0, None, 3.0, 1.0, None), strict=True):
        if score is not None:
            await finish(desk, campaign, number, score=score)
    await finish(desk, campaign, numbers[4], Outcome.LIMIT)
    await desk.node(await desk.campaign(), "in another campaign")
    ids = [numbers[place] for place in (2, 0, 3, 1, 4)]
    assert [node.id for node in await nodes.listed(desk.read, campaign)] == ids
    assert [node.id for node in await nodes.listed(desk.read, campaign, limit=2, offset=1)] == ids[1:3]
    assert [node.id for node in await nodes.listed(desk.read, campaign, order="newest")] == numbers[::-1]
    assert [node.id for node in await nodes.listed(desk.read, campaign, outcome="scored", order="oldest")] == [
        numbers[0],
        numbers[2],
        numbers[3],
    ]
    assert [node.id for node in await nodes.listed(desk.read, campaign, outcome="queued")] == [numbers[1]]
    assert await nodes.count(desk.read, campaign) == 5
    assert await nodes.count(desk.read, campaign, "limit") == 1
    assert await nodes.outcome_counts(desk.read, campaign) == {"scored": 3, "queued": 1, "limit": 1}


async def test_what_a_campaign_has_used_counts_candidates_but_not_the_baseline_nor_our_own_faults(desk):
    campaign = await desk.campaign()
    baseline = await desk.node(campaign, "baseline", is_baseline=True)
    await finish(desk, campaign, baseline, score=1.0)
    worse, lost = await desk.node(campaign, "worse"), await desk.node(campaign, "lost")
    await finish(desk, campaign, worse, score=0.5)
    await finish(desk, campaign, lost, Outcome.LOST)
    started = await campaigns.get(desk.read, campaign)
    use = await campaigns.use(desk.read, started, started.created_at + 60)
    assert use == BudgetUse(
        experiments=3, rounds=2, cpu_seconds=0, gpu_seconds=0, wall_seconds=60.0, best_score=1.0, since_best=1
    )
    await finish(desk, campaign, await desk.node(campaign, "better"), score=2.0)
    after = await campaigns.use(desk.read, started, started.created_at + 60)
    assert after == dataclasses.replace(use, experiments=4, rounds=3, best_score=2.0, since_best=0)


async def test_a_campaign_keeps_its_settings_and_takes_new_ones(desk):
    number = await desk.campaign("one", sampler="random", seed=5, budget=Budget(experiments=3, patience=2))
    before = (await campaigns.get(desk.read, number)).settings
    assert (before.sampler, before.seed, before.budget) == ("random", 5, Budget(experiments=3, patience=2))
    changed = CampaignSettings(sampler="greedy", budget=Budget(experiments=9))
    async with desk.workspace.transaction() as tx:
        await campaigns.change_settings(tx, number, changed)
    assert (await campaigns.get(desk.read, number)).settings == changed


async def test_a_missing_campaign_is_told_with_the_latest_or_how_to_begin(desk):
    with pytest.raises(NotFound, match=r"no c1\. There is none yet: call start_campaign"):
        await campaigns.get(desk.read, 1)
    await desk.campaign()
    with pytest.raises(NotFound, match=r"no c7\. The latest are c1"):
        await campaigns.get(desk.read, 7)


async def test_the_latest_analysis_of_a_node_counts_and_its_lessons_all_stay(desk):
    campaign = await desk.campaign()
    one, two = await desk.node(campaign, "one"), await desk.node(campaign, "two")
    async with desk.workspace.transaction() as tx:
        first, lessons = await analyses.add(
            tx, campaign_id=campaign, node_id=one, report="early", lessons=["a", "b"], tags=["x"]
        )
        second, more = await analyses.add(tx, campaign_id=campaign, node_id=one, report="late", lessons=["c"], tags=[])
    latest = await analyses.latest(desk.read, [one, two])
    assert {node: analysis.report for node, analysis in latest.items()} == {one: "late"}
    assert await analyses.node_of(desk.read, [first, second]) == {first: one, second: one}
    assert [lesson.text for lesson in await analyses.lessons_of(desk.read, one)] == ["a", "b", "c"]
    assert [lesson.id for lesson in await analyses.latest_lessons(desk.read, campaign, 2)] == [*more, lessons[1]]
    assert (await analyses.lessons(desk.read, lessons[::-1]))[0].tags == ("x",)
    with pytest.raises(NotFound, match="no l99"):
        await analyses.lessons(desk.read, [99])


async def test_nodes_that_await_an_analysis_are_finished_and_at_fault_themselves(desk):
    campaign = await desk.campaign()
    names = ("baseline", "analysed", "scored", "crashed", "lost", "queued")
    numbers = {name: await desk.node(campaign, name, is_baseline=name == "baseline") for name in names}
    for name in names[:3]:
        await finish(desk, campaign, numbers[name], score=1.0)
    await finish(desk, campaign, numbers["crashed"], Outcome.CANDIDATE_ERROR)
    await finish(desk, campaign, numbers["lost"], Outcome.LOST)
    async with desk.workspace.transaction() as tx:
        await analyses.add(tx, campaign_id=campaign, node_id=numbers["analysed"], report="r", lessons=[], tags=[])
    assert await analyses.without_analysis(desk.read, campaign) == [numbers["crashed"], numbers["scored"]]


async def test_the_same_knowledge_is_kept_once_per_domain(desk):
    item = cognition.NewItem("packing", "Title", "Body", "", "arXiv:1", ("tag",), CognitionOrigin.SEED)
    async with desk.workspace.transaction() as tx:
        number, new = await cognition.add(tx, item)
        again = await cognition.add(tx, dataclasses.replace(item, title=" Title\n", source="elsewhere"))
        everywhere = await cognition.add(tx, dataclasses.replace(item, domain=None))
    assert (new, again, everywhere) == (True, (number, False), (number + 1, True))
    assert await cognition.count(desk.read, "packing") == 2
    assert await cognition.count(desk.read, "curation") == 1
    (kept,) = await cognition.many(desk.read, [number])
    assert (kept.title, kept.source, kept.tags, kept.origin) == ("Title", "arXiv:1", ("tag",), CognitionOrigin.SEED)
