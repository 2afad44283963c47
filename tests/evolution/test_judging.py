"""Marks and metric make one score: linear, between the two, never NaN, and silence never pays."""

import math

import pytest
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.judging import Weighing, between, checked_marks, quality
from asi_evolve.evolution.statistics import Mean
from hypothesis import assume, given
from hypothesis import strategies as st

finite = st.floats(allow_nan=False, allow_infinity=False)
usual = st.floats(-1e6, 1e6)
shares = st.floats(0, 1)
CRITERIA = ("clarity", "depth", "wit")
weights = st.fixed_dictionaries({name: st.floats(0, 1e6, exclude_min=True) for name in CRITERIA})


@st.composite
def marked(draw):
    """A scale, and marks on it."""
    lowest, highest = sorted((draw(usual), draw(usual)))
    assume(lowest < highest)
    return (lowest, highest), {name: draw(st.floats(lowest, highest)) for name in CRITERIA}


@st.composite
def weighings(draw, number=finite):
    worst, best = sorted((draw(number), draw(number)))
    return Weighing(draw(shares), worst, best)


def test_the_published_combination():
    score = Weighing(0.25, 0.0, 40.0).combined(Mean(8.0, 0.4, 3), 0.5)
    assert score == Mean(0.75 * 8 + 0.25 * 20, 0.75 * 0.4, 3)


def test_heavier_criteria_count_more():
    assert quality({"a": 10, "b": 0}, {"a": 1, "b": 3}, (0, 10)) == 0.25
    assert quality({"a": 1, "b": 5}, {"a": 1, "b": 1}, (1, 5)) == 0.5


@given(weighings(), finite, st.none() | shares)
def test_any_score_is_finite_and_lies_between_metric_and_judge(weighing, metric, judged):
    score = weighing.combined(Mean(metric, None, 1), judged).value
    worth = between(weighing.worst, weighing.best, judged or 0.0)
    assert math.isfinite(score)
    assert min(metric, worth) <= score <= max(metric, worth)
    assert weighing.worst <= worth <= weighing.best


@given(weighings(), finite, st.none() | shares)
def test_weight_0_is_the_metric_alone_and_weight_1_the_judge_alone(weighing, metric, judged):
    seeds = Mean(metric, 0.5, 4)
    assert weighing._replace(weight=0.0).combined(seeds, judged) == seeds
    alone = weighing._replace(weight=1.0).combined(seeds, judged)
    assert (alone.value, alone.stderr) == (between(weighing.worst, weighing.best, judged or 0.0), 0.0)


@given(weighings(usual), usual, usual, shares, shares)
def test_the_combination_is_linear_in_metric_and_marks(weighing, first, second, judged, weight):
    def score(metric, quality):
        return weighing.combined(Mean(metric, None, 1), quality).value

    middle = between(first, second, weight)
    assert math.isclose(
        score(middle, judged), between(score(first, judged), score(second, judged), weight), rel_tol=1e-9, abs_tol=1e-6
    )
    assert math.isclose(
        score(first, weight), between(score(first, 0.0), score(first, 1.0), weight), rel_tol=1e-9, abs_tol=1e-6
    )


@given(weighings(), finite, finite, shares)
def test_who_is_not_judged_never_ranks_above_who_is(weighing, metric, better, judged):
    metric, better = sorted((metric, better))
    unjudged = weighing.combined(Mean(metric, None, 1), None)
    assert unjudged.value <= weighing.combined(Mean(metric, None, 1), judged).value
    assert unjudged.value <= weighing.combined(Mean(better, None, 1), judged).value


@given(marked(), weights)
def test_the_quality_is_a_share_and_the_extremes_are_0_and_1(given_marks, weights):
    scale, marks = given_marks
    assert 0.0 <= quality(marks, weights, scale) <= 1.0
    assert quality(dict.fromkeys(CRITERIA, scale[0]), weights, scale) == 0.0
    assert quality(dict.fromkeys(CRITERIA, scale[1]), weights, scale) == pytest.approx(1.0)


@given(marked(), weights, st.sampled_from(CRITERIA))
def test_a_higher_mark_never_lowers_the_quality(given_marks, weights, name):
    scale, marks = given_marks
    higher = marks | {name: scale[1]}
    assert quality(marks, weights, scale) <= quality(higher, weights, scale) + 1e-12


@given(marked())
def test_marks_on_the_scale_are_taken_as_they_are(given_marks):
    scale, marks = given_marks
    assert checked_marks(marks, CRITERIA, scale) == marks


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"wit": None}, "for wit to be a number from 0 to 10, but got None"),
        ({"wit": "7"}, "but got 7"),
        ({"wit": True}, "but got True"),
        ({"wit": 10.000001}, "but got 10.000001"),
        ({"wit": -1}, "but got -1"),
        ({"wit": math.nan}, "but got nan"),
        ({"wit": math.inf}, "but got inf"),
        ({"wit": 10**5000}, "but got a huge number"),
        ({"charm": 3}, "the rubric has no 'charm'"),
    ],
)
def test_other_marks_are_refused_by_name(change, told):
    with pytest.raises(BadInput, match=told):
        checked_marks({"clarity": 1, "depth": 2, "wit": 3} | change, CRITERIA, (0, 10))


@given(st.sets(st.sampled_from(CRITERIA), max_size=2))
def test_a_missing_criterion_is_named(given_names):
    with pytest.raises(BadInput, match=r"none for .*Mark every criterion") as refused:
        checked_marks(dict.fromkeys(given_names, 5), CRITERIA, (0, 10))
    missing = str(refused.value).split("none for ")[1]
    assert [name in missing for name in CRITERIA] == [name not in given_names for name in CRITERIA]
