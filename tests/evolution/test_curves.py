"""Curves of best so far: what counts as a round, how replicates are averaged, and what an arm comes to."""

import pytest
from asi_evolve.evolution.curves import Span, Trial, arm_curve, common_span, course, summarise
from asi_evolve.evolution.outcomes import Outcome
from hypothesis import example, given
from hypothesis import strategies as st

SCORES = st.floats(allow_nan=False, allow_infinity=False)
TRIALS = st.lists(st.none() | SCORES, max_size=30)


def scored(score, stderr=None):
    return Trial(Outcome.SCORED, score, stderr)


def trials(*scores):
    return [scored(score) if score is not None else Trial(Outcome.LIMIT, None) for score in scores]


def walk(baseline, *scores):
    return course(scored(baseline) if baseline is not None else None, trials(*scores))


def values(curve):
    return [(point.round, point.value, point.low, point.high) for point in curve.points]


def test_a_failure_is_a_round_without_a_score():
    walked = walk(1.0, None, 3.0, 2.0, None)
    assert [step.score for step in walked.steps] == [1.0, 1.0, 3.0, 3.0, 3.0]
    assert (walked.rounds, walked.failures) == (4, {"limit": 2})


def test_nothing_scored_yet_is_no_number():
    assert walk(None, None, 2.0).steps[:2] == (None, None)
    assert values(arm_curve([walk(None, None, 2.0)])) == [(2, 2.0, 2.0, 2.0)]


def test_a_candidate_that_scored_elsewhere_only_is_no_failure():
    walked = course(scored(1.0), [Trial(Outcome.SCORED, None)])
    assert (walked.rounds, walked.failures) == (1, {})


@given(TRIALS)
def test_a_best_so_far_never_falls_and_is_the_maximum(scores):
    walked = walk(None, *scores)
    for place, step in enumerate(walked.steps):
        before = [score for score in scores[:place] if score is not None]
        assert (step.score if step is not None else None) == max(before, default=None)


def test_few_replicates_have_a_band_from_the_lowest_to_the_highest():
    curve = arm_curve([walk(1.0, 2.0), walk(1.0, 6.0), walk(4.0, None)])
    assert values(curve) == [(0, 2.0, 1.0, 4.0), (1, 4.0, 2.0, 6.0)]
    assert curve.band == "mean, minimum to maximum"


def test_many_replicates_have_a_band_of_one_standard_error():
    curve = arm_curve([walk(float(number)) for number in range(1, 6)])
    (point,) = curve.points
    assert (point.value, point.high - point.value) == (3.0, pytest.approx((2.5 / 5) ** 0.5))
    assert point.value - point.low == pytest.approx(point.high - point.value)
    assert curve.band == "mean ± standard error"


def test_a_single_campaign_has_the_standard_error_of_its_best_node():
    curve = arm_curve([course(scored(1.0, 0.5), [scored(0.0, 9.0), scored(3.0, 0.25)])])
    assert values(curve) == [(0, 1.0, 0.5, 1.5), (1, 1.0, 0.5, 1.5), (2, 3.0, 2.75, 3.25)]
    assert curve.band == "± standard error of the best node"
    assert arm_curve([walk(1.0, 2.0)]).band == "no band"


def test_a_mean_goes_as_far_as_its_shortest_campaign_and_begins_when_all_have_scored():
    curve = arm_curve([walk(1.0, 2.0, 3.0, 9.0), walk(None, 4.0, None)])
    assert [(point.round, point.value) for point in curve.points] == [(1, 3.0), (2, 3.5)]
    assert curve.rounds == 2


@given(st.lists(st.tuples(SCORES, TRIALS), min_size=1, max_size=8))
@example([(3498784254678237.0, [])] * 3)
def test_a_curve_lies_in_its_band_and_the_band_of_few_in_what_was_seen(runs):
    courses = [walk(baseline, *scores) for baseline, scores in runs]
    curve = arm_curve(courses)
    for point in curve.points:
        assert point.low <= point.value <= point.high
    if 1 < len(courses) < 5:
        assert all(point.low == min(entry.steps[point.round].score for entry in courses) for point in curve.points)


def test_the_common_span_is_from_the_baselines_to_the_best_of_all():
    assert common_span([walk(1.0, 2.0), walk(3.0, None, 9.0)]) == Span(2.0, 9.0)
    assert common_span([walk(None, 5.0, 7.0), walk(None, 4.0)]) == Span(4.0, 7.0)
    assert common_span([walk(None, None)]) is None


def summary(courses, span=None, shared=None):
    curve = arm_curve(courses)
    return summarise(courses, curve, span or common_span(courses), curve.rounds if shared is None else shared)


def test_an_arm_comes_to_rounds_best_fractions_area_and_failures():
    got = summary([walk(0.0, 5.0, None, 10.0)])
    assert (got.rounds, got.trials, got.failures) == ((3, 3), 3, {"limit": 1})
    assert (got.final.value, got.best) == (10.0, 10.0)
    assert got.reached == {0.5: 1, 0.9: 3, 0.99: 3}
    assert got.area == pytest.approx((0.5 + 0.5 + 1.0) / 3)


def test_what_was_not_reached_is_no_round():
    got = summary([walk(0.0, 4.0)], span=Span(0.0, 10.0))
    assert got.reached == {0.5: None, 0.9: None, 0.99: None}
    assert got.area == pytest.approx(0.4)


def test_scores_below_zero_have_fractions_too():
    got = summary([walk(-127.0, -80.0, -34.0)])
    assert got.reached == {0.5: 1, 0.9: 2, 0.99: 2}


def test_an_area_is_over_the_rounds_that_all_arms_have():
    assert summary([walk(0.0, 5.0, 10.0, 10.0)], shared=1).area == pytest.approx(0.5)


def test_no_gain_has_neither_fractions_nor_area():
    got = summary([walk(1.0, 0.5, None)])
    assert got.area is None
    assert set(got.reached.values()) == {None}


def test_an_arm_without_a_score_has_no_numbers():
    got = summary([walk(None, None, None)])
    assert (got.final, got.best, got.area) == (None, None, None)
    assert got.failures == {"limit": 2}


@given(st.lists(st.tuples(SCORES, TRIALS), min_size=1, max_size=6))
def test_shares_of_the_way_are_parts_of_one_whatever_the_scores(runs):
    courses = [walk(baseline, *scores) for baseline, scores in runs]
    got = summary(courses)
    assert got.area is None or 0 <= got.area <= 1
    rounds = [round_ for round_ in got.reached.values() if round_ is not None]
    assert rounds == sorted(rounds)
