"""Sampling policies over a stored population choose what a scan over all nodes would choose."""

import math
import random
from collections import Counter

import pytest
from asi_evolve.database import nodes
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.sampling import UCB1, Greedy, Random, make_sampler
from asi_evolve.evolution.statistics import Mean
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.anyio
on_one_file = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# Few distinct values, so that ties occur; None is a node without a score.
members = st.tuples(st.none() | st.integers(-8, 8).map(lambda n: n / 4), st.integers(0, 3))
populations = st.lists(members, max_size=12)
counts = st.integers(1, 6)


async def stored(desk, population):
    """A campaign with these (score, visits); the nodes without a score are never handed out."""
    campaign = await desk.campaign()
    async with desk.workspace.transaction() as tx:
        for position, (score, visits) in enumerate(population):
            new = nodes.NewNode(campaign, f"node {position}", "", {"a.py": ""}, str(position))
            number = await nodes.add(tx, new)
            if score is not None:
                await nodes.set_score(tx, number, "explore", Mean(score, None, 1))
                for _ in range(visits):
                    await nodes.count_visit(tx, campaign, number)
    return campaign


async def chosen(desk, campaign, sampler, count, seed=0):
    choices = await sampler.choose(nodes.ScoredNodes(desk.read, campaign), count, random.Random(seed))
    return [choice.member.id for choice in choices]


async def scanned(desk, campaign):
    return [node for node in await nodes.listed(desk.read, campaign, limit=1000) if node.score is not None]


def ucb1_by_scan(everyone, exploration=1.414):
    def key(node):
        if node.visits == 0:
            return (0, -node.score, node.id)
        spread = highest - lowest
        quality = (node.score - lowest) / spread if spread else 0.0
        return (1, -(quality + exploration * math.sqrt(math.log(total) / node.visits)), node.id)

    lowest, highest = min(n.score for n in everyone), max(n.score for n in everyone)
    total = sum(n.visits for n in everyone)
    return [node.id for node in sorted(everyone, key=key)]


@on_one_file
@given(population=populations, count=counts)
async def test_ucb1_chooses_what_a_scan_would_choose(desk, population, count):
    campaign = await stored(desk, population)
    everyone = await scanned(desk, campaign)
    expected = ucb1_by_scan(everyone)[:count] if everyone else []
    assert await chosen(desk, campaign, UCB1(), count) == expected


@on_one_file
@given(population=populations, count=counts)
async def test_greedy_chooses_the_best_and_the_older_one_among_equals(desk, population, count):
    campaign = await stored(desk, population)
    ordered = sorted(await scanned(desk, campaign), key=lambda node: (-node.score, node.id))
    assert await chosen(desk, campaign, Greedy(), count) == [node.id for node in ordered][:count]


@on_one_file
@given(population=populations, count=counts, seed=st.integers(0, 2**31))
async def test_random_draws_without_replacement_and_the_same_again_from_the_same_seed(desk, population, count, seed):
    campaign = await stored(desk, population)
    everyone = {node.id for node in await scanned(desk, campaign)}
    drawn = await chosen(desk, campaign, Random(), count, seed)
    assert len(drawn) == len(set(drawn)) == min(count, len(everyone))
    assert set(drawn) <= everyone
    assert await chosen(desk, campaign, Random(), count, seed) == drawn


async def test_random_reaches_every_node_about_equally_often(desk):
    campaign = await stored(desk, [(float(score), 0) for score in range(4)])
    drawn = Counter([(await chosen(desk, campaign, Random(), 1, seed))[0] for seed in range(400)])
    assert len(drawn) == 4
    assert min(drawn.values()) > 60  # five standard deviations below 100


@pytest.mark.parametrize("name", ["ucb1", "greedy", "random"])
async def test_one_node_is_chosen_whatever_the_policy(desk, name):
    campaign = await stored(desk, [(None, 0), (1.0, 3), (None, 0)])
    (only,) = await scanned(desk, campaign)
    assert await chosen(desk, campaign, make_sampler(name), 5) == [only.id]


@pytest.mark.parametrize("name", ["ucb1", "greedy", "random"])
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
    with pytest.raises(BadInput, match="ucb1, greedy, random, but got 'softmax'"):
        make_sampler("softmax")
