"""What inspired the nodes of a campaign, counted in SQL, against the same counted by hand."""

import random
import statistics

import pytest
from asi_evolve.database import cognition, promotions, provenance
from asi_evolve.evolution.models import CognitionOrigin
from asi_evolve.evolution.provenance import Origins, best_count

pytestmark = pytest.mark.anyio

ITEMS, LESSONS, NODES = 8, 5, 60
FAILURES = ("candidate_error", "limit", "invalid_output", "rejected")


async def items(desk, count=ITEMS):
    """Items k1, k2, ...; every fourth was a lesson."""
    async with desk.workspace.transaction() as tx:
        for number in range(1, count + 1):
            origin = CognitionOrigin.LESSON if number % 4 == 0 else CognitionOrigin.SEED
            new = cognition.NewItem("circle_packing", f"item {number}", f"body {number}", "", "s", (), origin)
            await cognition.add(tx, new)


async def ended(desk, node, outcome, score=None, stage="explore"):
    async with desk.workspace.transaction() as tx:
        await tx.execute(
            "UPDATE nodes SET status = 'finished', outcome = ?, score = ?, score_stage = ? WHERE id = ?",
            (outcome, score, stage if score is not None else None, node),
        )


async def population(desk, campaign, rng):
    """Nodes with random parents, sources, outcomes and stages, as a list of dicts."""
    told = []
    for place in range(NODES):
        sources = [("k", number) for number in rng.sample(range(1, ITEMS + 1), rng.choice((0, 0, 1, 3)))]
        sources += [("l", rng.randint(1, LESSONS))] if rng.random() < 0.3 else []
        earlier = [node["id"] for node in told]
        parents = rng.sample(earlier, min(len(earlier), rng.choice((1, 1, 2))))
        sources += [("n", rng.choice(earlier))] if earlier and rng.random() < 0.4 else []
        number = await desk.node(
            campaign, f"{campaign}.{place}", parents=parents, inspired_by=sources, is_baseline=place == 0
        )
        outcome = rng.choice(("scored", "scored", "scored", *FAILURES, "lost", "cancelled", None))
        score = rng.choice((0.0, 1.0, rng.random())) if outcome == "scored" else None
        stage = rng.choice(("explore", "explore", "verify"))
        if outcome is not None:
            await ended(desk, number, outcome, score, stage)
        told.append(
            {"id": number, "parents": parents, "sources": sources, "outcome": outcome, "score": score, "stage": stage}
        )
    return told


def origin(node):
    knows = any(kind == "k" and number % 4 for kind, number in node["sources"])
    learned = any(
        kind == "l" or (kind == "k" and number % 4 == 0) or (kind == "n" and number not in node["parents"])
        for kind, number in node["sources"]
    )
    return {(1, 0): "cognition", (0, 1): "experience", (1, 1): "both", (0, 0): "neither"}[knows, learned]


def counted(found):
    kinds = [origin(node) for node in found]
    return Origins(**{kind: kinds.count(kind) for kind in ("cognition", "experience", "both", "neither")})


@pytest.mark.parametrize("seed", range(6))
async def test_counts_are_those_of_a_count_by_hand(desk, seed):
    rng = random.Random(seed)
    await items(desk)
    campaign, other = await desk.campaign(), await desk.campaign()
    told = await population(desk, campaign, rng)
    await population(desk, other, rng)
    by_id = {node["id"]: node for node in told}
    assert await provenance.origins(desk.read, campaign) == counted(told[1:])
    scored = sorted((node for node in told[1:] if node["score"] is not None), key=lambda n: (-n["score"], n["id"]))
    assert await provenance.origins_of_best(desk.read, campaign) == counted(scored[: best_count(len(scored))])
    uses = {use.id: use for use in await provenance.item_uses(desk.read, campaign)}
    for number in range(1, ITEMS + 1):
        users = [node for node in told if ("k", number) in node["sources"]]
        assert (number in uses) == bool(users)
        if not users:
            continue
        gains = [
            node["score"] - parent["score"]
            for node in users
            if node["parents"] and node["score"] is not None
            for parent in [by_id[node["parents"][0]]]
            if parent["score"] is not None and parent["stage"] == node["stage"]
        ]
        use = uses[number]
        assert use.used == len(users)
        assert use.failed == sum(node["outcome"] in FAILURES for node in users)
        assert (use.gain.seeds if use.gain else 0) == len(gains)
        if gains:
            assert use.gain.value == pytest.approx(statistics.fmean(gains))
        if len(gains) > 1:
            assert use.gain.stderr == pytest.approx(statistics.stdev(gains) / len(gains) ** 0.5)


async def test_a_campaign_without_candidates_has_no_origins(desk):
    campaign = await desk.campaign()
    assert (await provenance.origins(desk.read, campaign)).shares() is None
    assert (await provenance.origins_of_best(desk.read, campaign)).total == 0
    assert await provenance.item_uses(desk.read, campaign) == []


async def test_retrievals_are_counted_by_campaign_and_once_for_an_answer(desk):
    await items(desk)
    first, second = await desk.campaign(), await desk.campaign()
    for campaign, shown in ((first, [1, 2]), (first, [2, 2]), (second, [2])):
        async with desk.workspace.transaction() as tx:
            await provenance.count_retrievals(tx, campaign, shown)
    counts = {use.id: use.retrieved for use in await provenance.item_uses(desk.read, first)}
    assert counts == {1: 1, 2: 2}
    assert all(use.used == 0 for use in await provenance.item_uses(desk.read, first))


async def test_scores_that_overflow_a_sum_still_have_a_mean(desk):
    await items(desk)
    campaign = await desk.campaign()
    parent = await desk.node(campaign, "parent", is_baseline=True)
    await ended(desk, parent, "scored", 0.0)
    for score in (1.5e308, 1.5e308, -1e308):
        child = await desk.node(campaign, str(score), parents=[parent], inspired_by=[("k", 1)])
        await ended(desk, child, "scored", score)
    (use,) = await provenance.item_uses(desk.read, campaign)
    assert use.gain.seeds == 3
    assert use.gain.value == pytest.approx(1e308 * (2 / 3))


async def test_a_lesson_names_its_item_and_others_none(desk):
    await items(desk)
    campaign = await desk.campaign()
    node = await desk.node(campaign)
    async with desk.workspace.transaction() as tx:
        for _ in range(2):
            await tx.insert(
                "INSERT INTO analyses (campaign_id, node_id, report, tags_json, created_at)"
                " VALUES (?, ?, 'r', '[]', 0)",
                (campaign, node),
            )
            await tx.insert(
                "INSERT INTO lessons (campaign_id, node_id, analysis_id, text, tags_json, created_at)"
                " VALUES (?, ?, 1, 't', '[]', 0)",
                (campaign, node),
            )
        await promotions.add(tx, 2, 4)
    assert await promotions.items_of(desk.read, [1, 2, 9]) == {2: 4}
