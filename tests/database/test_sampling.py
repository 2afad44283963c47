"""Sampling policies over a stored population choose what a scan over all nodes would choose."""

import math
import random
from collections import Counter

import pytest
from asi_evolve.database import nodes
from asi_evolve.database.migrations import migration_scripts
from asi_evolve.database.population import ScoredNodes
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.models import SamplingOptions
from asi_evolve.evolution.outcomes import ExperimentStatus, Outcome
from asi_evolve.evolution.samplers import make_sampler
from asi_evolve.evolution.sampling import UCB1, Greedy, Member, Random, draw
from asi_evolve.evolution.statistics import Mean
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.anyio
on_one_file = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# Few distinct values, so that ties occur; None is a node without a score. The last number is how many work on it.
members = st.tuples(st.none() | st.integers(-8, 8).map(lambda n: n / 4), st.integers(0, 3), st.integers(0, 2))
populations = st.lists(members, max_size=12)
counts = st.integers(1, 6)
limits = st.none() | st.integers(1, 14)


async def stored(desk, population):
    """A campaign with these (score, visits, at work); the nodes without a score are never handed out."""
    campaign = await desk.campaign()
    async with desk.workspace.transaction() as tx:
        for position, (score, visits, *at_work) in enumerate(population):
            new = nodes.NewNode(campaign, f"node {position}", "", {"a.py": ""}, str(position))
            number = await nodes.add(tx, new)
            if score is not None:
                await nodes.set_score(tx, number, "explore", Mean(score, None, 1))
                for _ in range(visits):
                    await nodes.count_visit(tx, campaign, number)
                # The others were given up long ago.
                await tx.execute(
                    "UPDATE draws SET drawn_at = 0 WHERE node_id = ? AND id NOT IN (SELECT id FROM draws"
                    " WHERE node_id = ? ORDER BY id LIMIT ?)",
                    (number, number, sum(at_work)),
                )
    return campaign


async def chosen(desk, campaign, sampler, count, seed=0):
    choices = await sampler.choose(ScoredNodes(desk.read, campaign), count, random.Random(seed))
    return [choice.member.id for choice in choices]


async def scanned(desk, campaign):
    return [node for node in await nodes.listed(desk.read, campaign, limit=1000) if node.score is not None]


def ucb1_by_scan(everyone, total, exploration=1.414):
    def key(node):
        if node.visits == 0:
            return (0, -node.score, node.id)
        spread = highest - lowest
        quality = (node.score - lowest) / spread if spread else 0.0
        return (1, -(quality + exploration * math.sqrt(math.log(total) / node.visits)), node.id)

    lowest, highest = min((n.score for n in everyone), default=0), max((n.score for n in everyone), default=0)
    return [node.id for node in sorted(everyone, key=key)]


def greedy_by_scan(everyone, at_work):
    return [node.id for node in sorted(everyone, key=lambda node: (at_work[node.id], -node.score, node.id))]


class Listed:
    """A population in a list, with every question answered by looking at all of it."""

    def __init__(self, everyone, at_work, limit=None):
        self.everyone, self.at_work, self.limit = everyone, at_work, limit

    async def best(self, count):
        ordered = sorted((Member(n.id, n.score, n.visits) for n in self.everyone), key=lambda m: (-m.score, m.id))
        return ordered[: self.limit][:count]

    async def in_flight(self):
        return self.at_work

    def top(self, count):
        return Listed(self.everyone, self.at_work, min((n for n in (count, self.limit) if n), default=None))


@on_one_file
@given(population=populations, count=counts)
async def test_ucb1_chooses_what_a_scan_would_choose(desk, population, count):
    campaign = await stored(desk, population)
    everyone = await scanned(desk, campaign)
    expected = ucb1_by_scan(everyone, sum(n.visits for n in everyone))[:count] if everyone else []
    assert await chosen(desk, campaign, UCB1(), count) == expected


def expected_work(campaign_nodes, population):
    scored = [min(visits, at_work) for score, visits, at_work in population if score is not None]
    in_order = sorted(campaign_nodes, key=lambda node: node.id)
    return {node.id: work for node, work in zip(in_order, scored, strict=True)}


@on_one_file
@given(population=populations, count=counts)
async def test_greedy_chooses_the_best_of_those_that_the_fewest_work_on(desk, population, count):
    campaign = await stored(desk, population)
    everyone = await scanned(desk, campaign)
    at_work = expected_work(everyone, population)
    assert await chosen(desk, campaign, Greedy(), count) == greedy_by_scan(everyone, at_work)[:count]


@on_one_file
@given(population=populations, count=counts, seed=st.integers(0, 2**31))
async def test_random_draws_what_it_would_draw_from_a_list_without_replacement(desk, population, count, seed):
    campaign = await stored(desk, population)
    everyone = await scanned(desk, campaign)
    drawn = await chosen(desk, campaign, Random(), count, seed)
    assert len(drawn) == len(set(drawn)) == min(count, len(everyone))
    assert set(drawn) <= {node.id for node in everyone}
    listed = Listed(everyone, expected_work(everyone, population))
    choices = await Random().choose(listed, count, random.Random(seed))
    assert drawn == [choice.member.id for choice in choices]


@on_one_file
@given(
    population=populations,
    references=st.integers(0, 5),
    cap=limits,
    parents=limits,
    context=limits,
    exploration=st.sampled_from([0.0, 0.3, 1.414, 20.0]),
    seed=st.integers(0, 99),
)
async def test_pools_and_the_cap_leave_what_a_scan_over_the_best_would_leave(
    desk, population, references, cap, parents, context, exploration, seed
):
    campaign = await stored(desk, population)
    everyone = (await scanned(desk, campaign))[:cap]  # listed best first
    total = await ScoredNodes(desk.read, campaign).total_visits()
    at_work = Counter(expected_work(await scanned(desk, campaign), population))
    options = SamplingOptions(
        exploration_weight=exploration, population_cap=cap, parent_pool=parents, reference_pool=context
    )
    by_scan = {
        "ucb1": lambda some: ucb1_by_scan(some, max(total, 1), exploration),
        "greedy": lambda some: greedy_by_scan(some, at_work),
    }
    for name, scan in by_scan.items():
        drawn = await draw(
            make_sampler(name, options), ScoredNodes(desk.read, campaign), options, references, random.Random(seed)
        )
        ids = [choice.member.id for choice in drawn]
        assert ids[:1] == scan(everyone[:parents])[:1]
        assert len(set(ids)) == len(ids)
        if context is None:
            assert ids[1:] == [node for node in scan(everyone)[: 1 + references] if node != ids[0]][:references]
        else:
            best = {node.id for node in everyone[:context]}
            assert set(ids[1:]) <= best
            assert len(ids[1:]) == min(references, len(best - set(ids[:1])))
    listed = await draw(
        Random(), Listed(await scanned(desk, campaign), at_work), options, references, random.Random(seed)
    )
    drawn = await draw(Random(), ScoredNodes(desk.read, campaign), options, references, random.Random(seed))
    assert [choice.member for choice in drawn] == [choice.member for choice in listed]


@pytest.mark.parametrize("size", [10, 150])  # looked at whole; drawn from by rejection
async def test_a_node_that_two_work_on_is_drawn_a_third_as_often(desk, size):
    campaign = await stored(desk, [(1.0 + place % 3, 2, 2 if place < size // 2 else 0) for place in range(size)])
    busy = {node.id for node in await nodes.listed(desk.read, campaign, order="oldest", limit=size // 2)}
    drawn = [(await chosen(desk, campaign, Random(), 1, seed))[0] for seed in range(600)]
    assert 104 < sum(node in busy for node in drawn) < 196  # 150 expected, four and a half standard deviations


async def test_a_node_is_worked_on_from_its_draw_to_the_first_result_of_its_child(desk):
    campaign = await stored(desk, [(1.0, 0), (2.0, 0)])
    first, second = [node.id for node in await nodes.listed(desk.read, campaign, order="oldest")]
    at_work = ScoredNodes(desk.read, campaign).in_flight
    assert await at_work() == {}
    async with desk.workspace.transaction() as tx:
        await nodes.count_visit(tx, campaign, first)
        await nodes.count_visit(tx, campaign, first)
    assert await at_work() == {first: 2}
    child = await desk.node(campaign, "child", parents=[first])
    assert await at_work() == {first: 2}, "one draw waits for a candidate, one candidate for its result"
    untold = await desk.node(campaign, "nobody drew its parent", parents=[second, first])
    assert await at_work() == {first: 2, second: 1}, "it settles the other draw of its second parent"
    async with desk.workspace.transaction() as tx:
        await nodes.conclude(tx, child, Outcome.CANDIDATE_ERROR)
    assert await at_work() == {first: 1, second: 1}
    async with desk.workspace.transaction() as tx:
        await nodes.conclude(tx, untold, Outcome.SCORED)
        await nodes.set_status(tx, untold, ExperimentStatus.QUEUED)  # again, at another stage: nobody's new work
    assert await at_work() == {}


async def test_a_draw_that_leads_to_nothing_counts_until_its_time_is_over(desk):
    campaign = await stored(desk, [(1.0, 1, 1)])
    (only,) = [node.id for node in await nodes.listed(desk.read, campaign)]
    assert await ScoredNodes(desk.read, campaign, draw_timeout_s=1000).in_flight() == {only: 1}
    async with desk.workspace.transaction() as tx:
        await tx.execute("UPDATE draws SET drawn_at = drawn_at - 2000")
    assert await ScoredNodes(desk.read, campaign, draw_timeout_s=1000).in_flight() == {}
    assert await ScoredNodes(desk.read, campaign, draw_timeout_s=5000).in_flight() == {only: 1}
    assert (await nodes.get(desk.read, only)).visits == 1, "the visit stays counted"


async def test_a_node_of_a_database_from_before_is_drawn_at_random_too(desk):
    campaign = await stored(desk, [(float(place), 0) for place in range(100)])
    async with desk.workspace.transaction() as tx:
        script = migration_scripts()[8]
        backfill = next(part for part in script.split(";") if "row_number" in part)
        before = [tuple(row) for row in await tx.all("SELECT id, ordinal FROM nodes ORDER BY id")]
        await tx.execute("UPDATE nodes SET ordinal = 0")
        await tx.execute(backfill)
        assert [tuple(row) for row in await tx.all("SELECT id, ordinal FROM nodes ORDER BY id")] == before
    assert len({(await chosen(desk, campaign, Random(), 1, seed))[0] for seed in range(300)}) > 80


async def test_random_reaches_every_node_about_equally_often(desk):
    campaign = await stored(desk, [(float(score), 0) for score in range(4)])
    drawn = Counter([(await chosen(desk, campaign, Random(), 1, seed))[0] for seed in range(400)])
    assert len(drawn) == 4
    assert min(drawn.values()) > 60  # five standard deviations below 100


@pytest.mark.parametrize("name", ["ucb1", "greedy", "random", "map_elites"])
async def test_one_node_is_chosen_whatever_the_policy(desk, name):
    campaign = await stored(desk, [(None, 0), (1.0, 3), (None, 0)])
    (only,) = await scanned(desk, campaign)
    assert await chosen(desk, campaign, make_sampler(name), 5) == [only.id]


@pytest.mark.parametrize("name", ["ucb1", "greedy", "random", "map_elites"])
async def test_a_campaign_where_nothing_has_scored_gives_nothing(desk, name):
    assert await chosen(desk, await stored(desk, [(None, 0)]), make_sampler(name), 5) == []


async def test_ucb1_prefers_nodes_that_nobody_has_built_on(desk):
    campaign = await stored(desk, [(100.0, 1), (-1.0, 0), (0.0, 0)])
    best, worst, middle = [node.id for node in await nodes.listed(desk.read, campaign, order="oldest")]
    assert await chosen(desk, campaign, UCB1(), 3) == [middle, worst, best]


async def test_ucb1_returns_to_a_worse_node_once_the_best_was_visited_often(desk):
    campaign = await stored(desk, [(1.0, 40), (0.0, 1)])
    best, worse = [node.id for node in await nodes.listed(desk.read, campaign, order="oldest")]
    assert await chosen(desk, campaign, UCB1(), 1) == [worse]
    assert await chosen(desk, campaign, UCB1(exploration=0.0), 1) == [best]


async def test_an_unknown_policy_is_refused_with_those_there_are():
    with pytest.raises(BadInput, match="ucb1, greedy, random, map_elites, but got 'softmax'"):
        make_sampler("softmax")
