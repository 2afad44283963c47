"""Means with their standard error, robust spread, and the staircase of best scores."""

import math
import statistics

import pytest
from asi_evolve.evolution.statistics import mean, robust_spread, staircase
from hypothesis import given
from hypothesis import strategies as st

scores = st.floats(min_value=-1e9, max_value=1e9)


def test_one_seed_has_no_standard_error():
    assert mean([2.5]) == (2.5, None, 1)


def test_the_standard_error_is_that_of_the_sample():
    assert mean([1.0, 2.0, 3.0, 4.0]) == pytest.approx((2.5, math.sqrt(5 / 3) / 2, 4))


@given(st.lists(scores, min_size=2, max_size=64))
def test_mean_and_error_agree_with_the_textbook(values):
    found = mean(values)
    assert found.value == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-9)
    assert found.stderr == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), rel=1e-9, abs=1e-6)
    assert found.seeds == len(values)


@given(st.lists(scores, min_size=1))
def test_seeds_in_another_order_have_the_same_mean(values):
    assert mean(values) == pytest.approx(mean(values[::-1]))


def test_a_penalty_near_the_end_of_the_number_range_is_averaged_like_any_score():
    assert mean([-1e308, -1e308]).value == pytest.approx(-1e308)
    assert mean([1e200, 3e200]) == pytest.approx((2e200, 1e200, 2))


def test_the_robust_spread_of_normal_scores_is_their_standard_deviation():
    normal = statistics.NormalDist(3.0, 2.0)
    spread = robust_spread([normal.inv_cdf((place + 0.5) / 10_001) for place in range(10_001)])
    assert spread == pytest.approx((3.0, 2.0), rel=1e-3)


@given(st.lists(st.floats(0, 10), min_size=5), st.lists(scores, max_size=20))
def test_a_minority_cannot_move_the_robust_spread_out_of_where_the_others_are(majority, others):
    spread = robust_spread([*majority, *others[: len(majority) - 1]])
    assert 0 <= spread.median <= 10
    assert spread.deviation <= 1.4826 * 10


def test_the_staircase_of_a_search():
    assert staircase([1.0, None, 1.0, 3.0, 2.0, None]) == (3.0, 2, [(0, 1.0), (3, 3.0)])


@pytest.mark.parametrize("nothing", [[], [None, None]])
def test_without_scores_there_is_no_best_and_every_candidate_came_without_one(nothing):
    assert staircase(nothing) == (None, len(nothing), [])


@given(st.lists(st.none() | st.integers(-5, 5).map(float)))
def test_each_step_is_the_first_place_of_a_new_maximum(values):
    found = staircase(values)
    for position, score in found.steps:
        earlier = [value for value in values[:position] if value is not None]
        assert values[position] == score
        assert all(value < score for value in earlier)
    known = [value for value in values if value is not None]
    assert found.best == max(known, default=None)
    if known:
        assert found.since_best == len(values) - 1 - values.index(found.best)
