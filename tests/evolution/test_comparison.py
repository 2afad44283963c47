"""Differences of scores: paired where seeds are shared, with an interval only where the seeds allow one."""

import math
import random

import pytest
from asi_evolve.evolution.evidence.comparison import described, difference
from asi_evolve.evolution.evidence.lead import Standing, lead
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

scores = st.dictionaries(st.integers(0, 30), st.floats(-1e6, 1e6), min_size=1, max_size=20)


def test_over_shared_seeds_the_luck_of_the_seeds_cancels():
    first = {0: 1.0, 1: 5.0, 2: 9.0, 7: 100.0}
    second = {0: 1.5, 1: 5.4, 2: 9.6, 8: -100.0}
    found = difference(first, second)
    textbook = stats.ttest_rel([1.5, 5.4, 9.6], [1.0, 5.0, 9.0]).confidence_interval()
    assert found.paired
    assert found.seeds == (3, 3)
    assert found.all_seeds == (4, 4)
    assert found.mean == pytest.approx(0.5)
    assert tuple(found.interval) == pytest.approx((textbook.low, textbook.high))
    assert found.inside_noise is False


@pytest.mark.parametrize("shared", [0, 1])
def test_without_shared_seeds_the_interval_is_welchs(shared):
    first = {0: 1.0, 1: 1.4, 2: 0.7}
    second = {3 - shared: 2.0, 4: 3.5, 5: 2.2, 6: 2.9}
    found = difference(first, second)
    textbook = stats.ttest_ind(list(second.values()), list(first.values()), equal_var=False).confidence_interval()
    assert not found.paired
    assert found.seeds == (3, 4)
    assert tuple(found.interval) == pytest.approx((textbook.low, textbook.high))


@pytest.mark.parametrize(
    ("first", "second", "paired", "needy"),
    [
        ({0: 1.0}, {0: 2.0}, True, ["n1", "n2"]),
        ({0: 1.0}, {1: 2.0}, False, ["n1", "n2"]),
        ({0: 1.0, 1: 1.5}, {0: 2.0}, True, ["n2"]),
        ({0: 1.0}, {1: 2.0, 2: 2.0}, False, ["n1"]),
    ],
)
def test_one_seed_gives_no_interval_and_the_words_say_who_needs_more(first, second, paired, needy):
    found = difference(first, second)
    assert (found.mean, found.interval, found.stderr, found.inside_noise) == (1.0, None, None, None)
    assert found.paired is paired
    text = described(found, "n1", "n2")
    assert "no interval" in text
    assert [name for name in ("n1", "n2") if f"promote_node(node='{name}'" in text] == needy


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({0: 1.0, 1: 1.0, 2: 1.0}, {0: 1.1, 1: 1.1, 2: 1.1}),
        ({0: 1.0, 1: 2.0, 2: 3.0}, {0: 1.1, 1: 2.1, 2: 3.1}),
        ({0: 1.0, 1: 1.0}, {2: 1.1, 3: 1.1}),
    ],
)
def test_differences_that_are_all_equal_are_no_interval_of_width_zero(first, second):
    found = difference(first, second)
    assert found.mean == pytest.approx(0.1)
    assert found.interval is None
    assert "nothing is known of other seeds" in described(found, "n1", "n2")


@given(scores, scores)
def test_the_difference_the_other_way_round_is_its_negative(first, second):
    there, back = difference(first, second), difference(second, first)
    assert there.mean == pytest.approx(-back.mean, abs=1e-6)
    assert (there.interval is None) == (back.interval is None)
    if there.interval is not None:
        assert tuple(there.interval) == pytest.approx((-back.interval.high, -back.interval.low), rel=1e-6, abs=1e-6)


@given(scores, scores, st.floats(-1e6, 1e6))
def test_what_all_scores_share_does_not_change_the_difference(first, second, offset):
    moved = difference(
        {seed: score + offset for seed, score in first.items()},
        {seed: score + offset for seed, score in second.items()},
    )
    assert moved.mean == pytest.approx(difference(first, second).mean, abs=1e-6)


@given(scores, scores)
def test_an_interval_lies_around_its_mean(first, second):
    found = difference(first, second)
    assume(found.interval is not None)
    assert found.interval.low <= found.mean <= found.interval.high  # a width below the last digit of the mean is lost
    assert found.stderr > 0


huge = st.dictionaries(st.integers(0, 3), st.floats(allow_nan=False, allow_infinity=False), min_size=1)


@given(huge, huge)
def test_no_finite_score_makes_a_number_that_is_not_finite(first, second):
    found = difference(first, second)
    assert all(map(math.isfinite, (found.mean, found.stderr or 0.0, *(found.interval or ()))))
    assert described(found, "n1", "n2").endswith((".", ")"))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_intervals_cover_the_truth_as_often_as_they_say(shared, count):
    rng = random.Random(count)
    covered = 0
    for _ in range(600):
        luck = [rng.gauss(0, 3) for _ in range(count)]
        first = {seed: luck[seed] * shared + rng.gauss(0, 1) for seed in range(count)}
        second = {seed + 100 * (not shared): luck[seed] * shared + rng.gauss(0.5, 1) for seed in range(count)}
        found = difference(first, second)
        covered += found.interval.low <= 0.5 <= found.interval.high
    assert 0.92 <= covered / 600 <= 0.995  # Welch with two seeds each is on the safe side


def standing(name, *values, stage="explore"):
    return Standing(name, stage, dict(enumerate(values)))


def test_a_lead_that_the_seeds_bear_out_is_outside_the_noise_and_the_luckiest_is_told_of():
    text = lead([standing("n7", 2.0, 2.1, 2.2), standing("n5", 1.0, 1.11, 1.19)], scored=12)
    assert text.startswith("n7 leads n5 by 1 (3 shared seeds), outside the noise (95 % interval 0.9752 to 1.025).")
    assert "The best of 12 is partly the luckiest" in text
    assert "luckiest" not in lead([standing("n7", 2.0, 2.1, 2.2), standing("n5", 1.0, 1.11, 1.19)], scored=2)


def test_a_lead_inside_the_noise_names_every_rival_it_may_not_lead():
    ranking = [standing("n7", 1.0, 3.0), standing("n5", 1.9, 2.0), standing("n3", 1.8, 2.0), standing("n1", -9.0, -7.0)]
    text = lead(ranking, scored=4)
    assert "n7 leads n5 by 0.05 (2 shared seeds), inside the noise (95 % interval" in text
    assert "; its lead over n3 is inside the noise." in text
    assert "n1" not in text


def test_a_rival_further_down_may_be_closer_than_the_second():
    ranking = [standing("n7", 2.0, 2.1, 2.2), standing("n5", 1.0, 1.11, 1.19), standing("n3", -9.0, 2.0, 9.0)]
    text = lead(ranking, scored=4)
    assert "n7 leads n5 by 1 (3 shared seeds), outside the noise" in text
    assert text.endswith("; its lead over n3 is inside the noise.")


def test_candidates_that_score_the_same_with_every_seed_are_not_called_lucky():
    text = lead([standing("n7", 2.0, 2.0), standing("n5", 1.0, 1.0)], scored=50)
    assert text.startswith("n7 leads n5 by 1 (2 shared seeds), exactly as much with every seed seen")
    assert "luckiest" not in text


def test_a_lead_with_one_seed_each_is_not_known_and_says_what_to_do():
    text = lead([standing("n7", 2.0), standing("n5", 1.5)], scored=2)
    assert text.startswith("not known: n7 leads n5 by 0.5 (1 shared seed), no interval: n7 and n5 have one seed")
    assert "promote_node(node='n7', seeds=4), then promote_node(node='n5', seeds=4)" in text


def test_scores_of_different_stages_are_no_lead():
    text = lead([standing("n7", 2.0, 2.5, stage="verify"), standing("n5", 1.5)], scored=2)
    assert text.startswith("not known: n7 was scored at stage verify and n5 at explore, which do not compare")
    assert "promote_node(node='n5', stage='verify'" in text
    among_equals = lead([standing("n7", 2.0), standing("n6", 1.9, stage="verify"), standing("n5", 1.5)], scored=3)
    assert "n7 leads n5" in among_equals


def test_one_node_alone_has_no_lead():
    assert lead([standing("n7", 2.0)], scored=1) is None
    assert lead([], scored=0) is None


def test_the_first_of_the_list_may_trail_on_the_seeds_it_shares():
    first = Standing("n7", "explore", {0: 1.0, 1: 1.1, 9: 50.0})
    second = Standing("n5", "explore", {0: 2.0, 1: 2.2})
    assert "n7 trails n5 by 1.05 (2 shared seeds)" in lead([first, second], scored=2)
