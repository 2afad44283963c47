"""Scores relative to the baseline: what holds of them for any numbers."""

import math
from dataclasses import replace

import pytest
from asi_evolve.evolution.relative import Penalty, Statistic, Term, Yardstick, measured, sigmoid
from hypothesis import given
from hypothesis import strategies as st

values = st.floats(-1e6, 1e6)
positive = st.floats(1e-3, 1e3)
anything = st.floats(allow_nan=False, allow_infinity=False)
LOSS = Term("loss", False, 1.0, 0.05, 2.0)
statistics = st.builds(Statistic, values, st.floats(0, 1e3), st.just({}))


def score(term, value, known, **options):
    return Yardstick((term,), **options).score({term.metric: value}, {term.metric: known})


@given(statistics, st.booleans(), positive, positive)
def test_the_baselines_mean_has_exactly_a_half(known, higher, weight, min_sd):
    assert score(Term("m", higher, weight, min_sd, 2.0), known.mean, known) == 0.5


@given(statistics, values, values, st.booleans())
def test_it_never_falls_as_the_metric_gets_better(known, one, other, higher):
    term = replace(LOSS, higher_is_better=higher)
    worse, better = sorted((one, other), reverse=not higher)
    assert score(term, worse, known) <= score(term, better, known)


@given(st.floats(-5, 5), st.floats(1e-3, 5), st.floats(0, 1))
def test_a_gain_that_can_be_seen_raises_it(value, gain, sd):
    known = Statistic(0.0, sd, {})
    assert score(LOSS, value - gain, known) > score(LOSS, value, known) or abs(value) / max(sd, 0.05) > 60


@given(anything, anything, st.floats(0, 1.7e308), st.floats(1e-300, 1e300), st.booleans())
def test_it_stays_between_0_and_1_and_is_a_number_whatever_comes(value, mean, sd, min_sd, higher):
    assert 0 <= score(Term("m", higher, 1.0, min_sd, 2.0), value, Statistic(mean, sd, {})) <= 1


@given(values, values, st.floats(1e-3, 1e3), positive, st.sampled_from([1e-3, 0.125, 2.0, 1000.0]))
def test_units_do_not_matter_where_min_sd_is_in_them_too(value, mean, sd, min_sd, factor):
    before = score(Term("m", True, 1.0, min_sd, 2.0), value, Statistic(mean, sd, {}))
    after = score(Term("m", True, 1.0, factor * min_sd, 2.0), factor * value, Statistic(factor * mean, factor * sd, {}))
    assert after == pytest.approx(before, abs=1e-6)


@given(st.floats(-1, 1), st.booleans())
def test_the_worse_of_two_directions_is_the_mirror_of_the_better(gain, higher):
    known = Statistic(0.0, 0.1, {})
    one = score(replace(LOSS, higher_is_better=higher), gain, known)
    assert one + score(replace(LOSS, higher_is_better=not higher), gain, known) == pytest.approx(1)


def test_a_gain_of_scale_deviations_is_worth_the_sigmoid_of_one():
    assert score(LOSS, 0.8, Statistic(1.0, 0.1, {})) == pytest.approx(1 / (1 + math.exp(-1)))
    assert score(replace(LOSS, scale=4.0), 0.8, Statistic(1.0, 0.1, {})) == pytest.approx(sigmoid(0.5))
    assert score(LOSS, 0.9, Statistic(1.0, 0.0, {})) == pytest.approx(sigmoid(1)), "min_sd is the least"


def test_terms_count_by_their_weights():
    terms = (LOSS, Term("accuracy", True, 3.0, 0.1, 2.0))
    known = {"loss": Statistic(1.0, 0.1, {}), "accuracy": Statistic(0.5, 0.1, {})}
    found = Yardstick(terms).score({"loss": 0.8, "accuracy": 0.3}, known)
    assert found == pytest.approx((sigmoid(1) + 3 * sigmoid(-1)) / 4)


@pytest.mark.parametrize(("cost", "fine"), [(0.0, 0.0), (-5.0, 0.0), (2.0, 0.0), (4.0, 0.1), (16.0, 0.3)])
def test_each_doubling_beyond_what_is_free_costs_the_weight_again(cost, fine):
    yardstick = Yardstick((LOSS,), (Penalty("cost", 2.0, 0.1),))
    found = yardstick.score({"loss": 1.0, "cost": cost}, {"loss": Statistic(1.0, 0.1, {})})
    assert found == pytest.approx(0.5 - fine)


@given(st.floats(2, 1e300), st.floats(1, 10))
def test_what_costs_more_never_scores_more(cost, factor):
    yardstick = Yardstick((LOSS,), (Penalty("cost", 2.0, 0.1),))
    dear, dearer = (
        yardstick.score({"loss": 1.0, "cost": value}, {"loss": Statistic(1.0, 0.1, {})})
        for value in (cost, cost * factor)
    )
    assert dearer <= dear <= 0.5


def test_a_pair_is_compared_with_its_partner_and_without_one_with_the_mean():
    known = {"loss": Statistic(1.0, 0.1, {3: 1.2})}
    yardstick = Yardstick((LOSS,), paired=True)
    assert yardstick.score({"loss": 1.2}, known, seed=3) == 0.5
    assert yardstick.score({"loss": 1.0}, known, seed=4) == 0.5
    assert yardstick.score({"loss": 1.0}, known) == 0.5
    assert Yardstick((LOSS,)).score({"loss": 1.0}, known, seed=3) == 0.5


@pytest.mark.parametrize(
    ("metrics", "lacking"),
    [
        ({"loss": 1.0, "cost": 1.0}, None),
        ({"loss": 1.0}, "cost"),
        ({"cost": 1.0}, "loss"),
        ({"loss": math.nan, "cost": 1.0}, "loss"),
        ({"loss": 1.0, "cost": math.inf}, "cost"),
    ],
)
def test_what_a_run_lacks_is_named(metrics, lacking):
    assert Yardstick((LOSS,), (Penalty("cost", 2.0, 0.1),)).lacking(metrics) == lacking


@given(st.dictionaries(st.integers(0, 9), values, min_size=2, max_size=10))
def test_statistics_are_those_of_the_seeds(by_seed):
    known = measured({seed: {"loss": value} for seed, value in by_seed.items()})["loss"]
    mean = math.fsum(by_seed.values()) / len(by_seed)
    variance = math.fsum((value - mean) ** 2 for value in by_seed.values()) / (len(by_seed) - 1)
    assert known.mean == pytest.approx(mean, abs=1e-6)
    assert known.sd == pytest.approx(math.sqrt(variance), abs=1e-6)
    assert known.by_seed == by_seed


def test_of_one_seed_no_deviation_is_known_and_what_overflows_is_left_out():
    assert measured({0: {"loss": 2.0}})["loss"] == Statistic(2.0, 0.0, {0: 2.0})
    found = measured({0: {"loss": 2.0, "huge": 1.7e308, "rare": 1.0}, 1: {"loss": 4.0, "huge": -1.7e308}})
    assert set(found) == {"loss", "rare"}
    assert found["rare"].by_seed == {0: 1.0}


def gain_of(term, value, known, **options):
    return score(term, value, known, form="gain", **options)


PLAIN = Term("loss", False, 1.0)


@given(statistics, values, st.booleans(), positive)
def test_a_gain_is_the_difference_in_units_of_the_metric(known, value, higher, weight):
    found = gain_of(Term("m", higher, weight), value, known)
    assert found == pytest.approx((value - known.mean) * (1 if higher else -1), abs=1e-9)


@given(statistics, values, st.floats(1e-3, 1e3))
def test_a_gain_does_not_ask_how_much_the_baseline_scatters(known, value, sd):
    assert gain_of(PLAIN, value, known) == gain_of(PLAIN, value, replace(known, sd=sd))


@given(anything, anything, st.floats(1e-300, 1e300), st.floats(1e-300, 1e300))
def test_a_gain_is_a_number_whatever_comes(value, mean, weight, other):
    terms = (Term("loss", False, weight), Term("accuracy", True, other))
    known = {"loss": Statistic(mean, 0.0, {}), "accuracy": Statistic(-mean, 0.0, {})}
    assert math.isfinite(Yardstick(terms, form="gain").score({"loss": value, "accuracy": -value}, known))


def test_gains_count_by_their_weights_and_what_costs_too_much_is_taken_off():
    yardstick = Yardstick((PLAIN, Term("accuracy", True, 3.0)), (Penalty("cost", 2.0, 0.1),), form="gain")
    known = {"loss": Statistic(1.0, 0.1, {}), "accuracy": Statistic(0.5, 0.1, {})}
    found = yardstick.score({"loss": 0.8, "accuracy": 0.3, "cost": 8.0}, known)
    assert found == pytest.approx((0.2 - 3 * 0.2) / 4 - 0.2)


@given(st.lists(values, min_size=2, max_size=6), st.lists(values, min_size=6, max_size=6))
def test_paired_scores_differ_from_the_baselines_by_the_gain_of_each_seed(own, others):
    """Also with seeds that it was not measured with: both are then compared with the same mean."""
    known = measured({seed: {"loss": value} for seed, value in enumerate(own)})
    yardstick = Yardstick((PLAIN,), paired=True, form="gain")
    scores = [
        [yardstick.score({"loss": value}, known, seed) for seed, value in enumerate(row)] for row in (own, others)
    ]
    gaps = [other - mine for mine, other in zip(*scores, strict=False)]
    assert gaps == pytest.approx([mine - other for mine, other in zip(own, others, strict=False)], abs=1e-6)
    assert scores[0] == [0.0] * len(own)


def test_the_size_of_a_run_is_the_weighted_mean_of_its_terms():
    yardstick = Yardstick((PLAIN, Term("accuracy", True, 3.0)), form="gain")
    assert yardstick.size({"loss": -2.0, "accuracy": 0.4}) == pytest.approx((2 + 3 * 0.4) / 4)
