"""What a campaign has used of its budget, told without counting its rows."""

import time

import pytest
from asi_evolve.database import campaigns, experiments, nodes
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.evolution.statistics import Mean
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.anyio
ends = st.lists(
    st.tuples(st.none() | st.sampled_from(list(Outcome)), st.integers(0, 4), st.integers(0, 2)), max_size=15
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ends=ends)
async def test_the_budget_used_is_what_counting_every_row_gives(desk, ends):
    campaign = await desk.campaign()
    for place, (outcome, score, orders) in enumerate(ends):
        node = await desk.node(campaign, str(place), is_baseline=place == 0)
        async with desk.workspace.transaction() as tx:
            for _ in range(orders):
                await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage="explore", seeds=[0])
            if outcome is not None:
                await nodes.conclude(tx, node, outcome)
            if outcome is Outcome.SCORED:
                await nodes.set_score(tx, node, "explore", Mean(float(score), None, 1))
    use = await campaigns.use(desk.read, await campaigns.get(desk.read, campaign), time.time())
    assert use.experiments == sum(orders for *_, orders in ends)
    assert use.rounds == len(ends) - 1
    scored = [score for outcome, score, _ in ends if outcome is Outcome.SCORED]
    best = next((i for i, end in enumerate(ends) if end[0] is Outcome.SCORED and end[1] == max(scored)), -1)
    passed_over = (None, Outcome.CANCELLED, Outcome.LOST, Outcome.INFRASTRUCTURE_ERROR)
    later = [place for place in range(max(best, 0) + (best >= 0), len(ends)) if place > 0]
    assert use.since_best == sum(ends[place][0] not in passed_over for place in later)
