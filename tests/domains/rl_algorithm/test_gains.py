"""Paired gains, their interval, and the metrics of an experiment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from .boundary_lab import imported
from .judge_lab import REGIMES, told

gains, measures, forms = imported("judging.gains", "judging.measures", "judging.forms")


def run_of(regime="stress", seed=0, pass_at_1=0.3, curve=None, by_task=None, length=4.0):
    numbers = {"entropy": 0.5, "kl": 0.2, "clip_fraction": 0.1, "length": length, "length_start": 5.0, "cpu_seconds": 1}
    points = curve or [(0, 0.1), (30, pass_at_1)]
    return forms.Run(regime, seed, points[-1][0], points, pass_at_1, 0.4, by_task or {"add": pass_at_1}, numbers)


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 8, 23, 71])
def test_the_quantile_is_students(degrees):
    assert gains.t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=24))
def test_the_interval_is_that_of_the_paired_t_test(values):
    found = gains.interval(values)
    if max(values) == min(values):
        assert found is None, "equal gains say nothing of other seeds"
        return
    assert found.low <= found.mean <= found.high
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_run_is_paired_with_the_baselines_of_the_same_regime_and_seed():
    runs = [
        run_of(regime, seed, 0.3 + 0.01 * (seed % 5000)) for regime in ("on_policy", "stress") for seed in (5000, 5001)
    ]
    known = {f"pass_at_1_{regime}_{place}": 0.25 for regime in ("on_policy", "stress") for place in (0, 1)}
    found = gains.paired_gains(runs, [5000, 5001], gains.read_baseline(told(known)))
    assert [(gain.regime, gain.seed) for gain in found] == [(run.regime, run.seed) for run in runs]
    assert [gain.value for gain in found] == pytest.approx([0.05, 0.06, 0.05, 0.06])


def test_without_the_baselines_run_of_this_seed_nothing_is_paired():
    known = gains.read_baseline(told({"pass_at_1_stress_0": 0.25}, same_seed=False))
    assert known["pass_at_1_stress_0"].partner == 0.25, "the mean"
    assert gains.paired_gains([run_of()], [0], known) == []
    assert gains.paired_gains([run_of()], [0], {}) == []


def test_metrics_are_means_over_the_runs_and_the_worst_is_named():
    by_seed = {0: 0.2, 1: 0.4}
    runs = [
        run_of(regime, seed, by_seed[seed], by_task={"add": 0.1, "sort": 2 * by_seed[seed]})
        for regime in REGIMES
        for seed in by_seed
    ]
    found = measures.measures(runs, REGIMES, [0, 1])
    assert found["pass_at_1"] == pytest.approx(0.3)
    assert (found["pass_at_1_flipped_0"], found["pass_at_1_flipped_1"]) == (0.2, 0.4)
    assert found["pass_at_1_stress"] == pytest.approx(0.3)
    assert found["worst_task"] == pytest.approx(0.1)
    assert found["worst_seed"] == pytest.approx(0.2)
    assert found["length_drift"] == pytest.approx(-0.2)
    assert found["warm_pass_at_1"] == pytest.approx(0.1)


def test_the_area_is_the_mean_height_of_the_curve_and_who_learns_sooner_has_more():
    slow, fast = [(0, 0.1), (20, 0.1), (30, 0.4)], [(0, 0.1), (10, 0.4), (30, 0.4)]
    assert measures.area(run_of(curve=slow, pass_at_1=0.4)) == pytest.approx((20 * 0.1 + 10 * 0.25) / 30)
    assert measures.area(run_of(curve=fast, pass_at_1=0.4)) == pytest.approx((10 * 0.25 + 20 * 0.4) / 30)
    assert measures.at_percent(run_of(curve=slow, pass_at_1=0.4), 67) == pytest.approx(0.1 + 0.3 * 0.1 / 10)
