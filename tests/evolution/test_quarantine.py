"""Which scores are held, and what repeats with other seeds make of them."""

import math

import pytest
from asi_evolve.evolution.models import Quarantine
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.evolution.quarantine import (
    Alarm,
    alarm_reason,
    breaks,
    not_repeated,
    suspicion,
    verdict,
    verdict_on_alarm,
)
from asi_evolve.evolution.statistics import robust_spread
from hypothesis import given
from hypothesis import strategies as st

finite = st.floats(allow_nan=False, allow_infinity=False)
scores = st.floats(-1e6, 1e6)
populations = st.lists(scores, min_size=10, max_size=40)
USUAL = [1.90, 1.93, 1.95, 1.96, 1.97, 1.98, 2.0, 2.01, 2.02, 2.05]


def held_for(given_scores, peers=(), bound=None, deviations=8.0, population=10):
    found = suspicion(given_scores, bound=bound, peers=peers, deviations=deviations, population=population)
    return found.cause if found is not None else None


def quarantine(cause="outlier", score=2.6, bound=None, median=2.0, reason="Scored 2.6"):
    return Quarantine(
        cause=cause, reason=reason, stage="explore", score=score, bound=bound, median=median, seeds=(8, 9), former=None
    )


@given(st.lists(finite, min_size=1), finite)
def test_no_score_is_held_for_a_bound_that_it_keeps(values, bound):
    assert held_for([min(value, bound) for value in values], bound=bound) is None


@given(scores, st.floats(1e-5, 1e6), st.lists(scores))
def test_one_seed_above_the_bound_is_enough_whatever_the_others_scored(bound, excess, others):
    assert held_for([*others, bound + excess], bound=bound) == "bound"


@pytest.mark.parametrize(("bound", "score"), [(1.0, 1.0000000000000002), (0.0, 1e-17), (-5.0, math.nextafter(-5.0, 0))])
def test_rounding_breaks_no_bound(bound, score):
    assert not breaks(bound, score)
    assert breaks(bound, score + 1e-9)


def test_a_score_far_above_the_population_is_held_and_told_with_the_figures():
    found = suspicion([2.6], bound=None, peers=USUAL, deviations=8.0, population=10)
    assert found.cause == "outlier"
    assert found.median == pytest.approx(1.975)
    for figure in ("2.6", "1.975", "of 10 nodes", "best 2.05", "more than 8"):
        assert figure in found.reason


def test_a_usual_improvement_is_not_held():
    assert held_for([2.1], USUAL) is None


def test_after_a_breakthrough_small_steps_on_top_of_it_are_not_held():
    assert held_for([2.61], [*USUAL, 2.6]) is None
    assert held_for([3.5], [*USUAL, 2.6]) == "outlier"


@given(populations, st.floats(0.1, 100))
def test_nothing_up_to_the_best_of_the_population_is_held(peers, deviations):
    assert held_for([max(peers)], peers, deviations=deviations, population=3) is None


@given(st.lists(scores, max_size=9), finite)
def test_a_small_population_says_nothing(peers, score):
    assert held_for([score], peers) is None


@given(scores, st.lists(scores, max_size=9), scores)
def test_a_population_of_which_most_score_the_same_says_nothing(usual, others, score):
    assert held_for([score], [*[usual] * 11, *others]) is None


@given(populations, st.floats(0, 40), st.floats(0, 40), st.floats(1, 20))
def test_a_higher_score_is_held_where_a_lower_one_is(peers, low, more, deviations):
    median, deviation = robust_spread(peers)
    lower, higher = (held_for([median + far * deviation], peers, deviations=deviations) for far in (low, low + more))
    assert lower is None or higher == "outlier"


@given(populations, st.floats(0, 40), st.floats(1, 20))
def test_held_is_what_leaves_both_the_population_and_its_best_behind(peers, far, deviations):
    median, deviation = robust_spread(peers)
    score = median + far * deviation
    outside = deviation > 0 and score > median + deviations * deviation and score > max(peers) + deviation
    assert (held_for([score], peers, deviations=deviations) == "outlier") == outside


@given(st.lists(st.integers(-1000, 1000).map(float), min_size=10, max_size=40), st.integers(-2000, 2000))
def test_the_unit_of_the_score_does_not_matter(peers, score):
    scaled = [4.0 * peer + 1024.0 for peer in peers]  # powers of two, so that nothing is rounded
    assert held_for([float(score)], peers) == held_for([4.0 * score + 1024.0], scaled)


@given(st.lists(finite, min_size=10, max_size=20), finite)
def test_numbers_near_the_end_of_their_range_cause_no_error(peers, score):
    found = suspicion([score], bound=None, peers=peers, deviations=8.0, population=10)
    assert found is None or math.isfinite(found.median)


@given(scores, st.floats(0.1, 1e6), st.floats(0.01, 1), st.integers(1, 5))
def test_a_candidate_that_scores_the_same_with_every_seed_is_released(median, lead, confirm, count):
    held = quarantine(score=median + lead, median=median)
    assert verdict(held, [held.score] * count, confirm=confirm).released


@given(st.lists(st.floats(1.0, 2.2), min_size=1, max_size=5))
def test_luck_is_refused_with_the_figures(repeats):
    refused = verdict(quarantine(), repeats, confirm=0.5)
    assert not refused.released
    assert "luck" in refused.reason
    assert all(f"{score:.10g}" in refused.reason for score in repeats)


def test_the_lead_that_has_to_come_again_is_that_over_the_median():
    held = quarantine(score=3.0, median=1.0)
    assert verdict(held, [2.0, 2.1], confirm=0.5).released
    assert not verdict(held, [2.0, 1.9], confirm=0.5).released


@given(st.lists(scores, min_size=1, max_size=5))
def test_a_broken_bound_is_never_forgiven(repeats):
    refused = verdict(quarantine("bound", score=9.0, bound=5.0, median=None), repeats, confirm=0.5)
    assert not refused.released
    assert "the candidate or the evaluator is wrong" in refused.reason
    assert ("again above" in refused.reason) == (max(repeats) > 5.0)


def test_an_outlier_whose_repeat_breaks_the_bound_is_refused_for_that():
    refused = verdict(quarantine(bound=3.0), [2.6, 3.1], confirm=0.5)
    assert not refused.released
    assert "The proven bound is 3" in refused.reason


def test_a_candidate_that_fails_with_another_seed_is_told_how():
    assert "(8) it ended as limit: Out of time." in not_repeated(quarantine(), 8, Outcome.LIMIT, "Out of time.")


LOWER = Alarm("loss", higher_is_better=False, margin=0.1)
losses = st.floats(1e-3, 1e3)


@given(losses, losses)
def test_an_alarm_rings_beyond_its_margin_and_in_its_direction_alone(value, best):
    for alarm, lead in ((LOWER, best - value), (LOWER._replace(higher_is_better=True), value - best)):
        rung = alarm.rings(value, best)
        assert (rung is not None) == (lead > 0.1 * best)


def test_the_margin_is_a_share_of_the_size_of_the_best_also_below_zero():
    higher = LOWER._replace(higher_is_better=True)
    assert higher.rings(-9.1, -10.0) is None
    assert higher.rings(-8.9, -10.0) is not None
    assert higher.rings(1e-9, 0.0) is not None


@pytest.mark.parametrize(("repeats", "released"), [([0.5, 0.5], True), ([0.7, 0.8], True), ([0.7, 0.9], False)])
def test_a_metric_that_rang_has_to_keep_its_share_of_the_lead(repeats, released):
    rung = LOWER.rings(0.5, 1.0)
    held = quarantine("alarm", reason=alarm_reason(rung, 0.1)).model_copy(update={"alarm": rung})
    found = verdict_on_alarm(held, rung, repeats, confirm=0.5)
    assert found.released is released
    assert "Its loss, 0.5, is better than the best so far, 1, by more than 10% of that" in found.reason
