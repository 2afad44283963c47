"""A plateau is a long stretch without a new best, measured against scores in random order."""

import random

import pytest
from asi_evolve.evolution.evidence.plateau import plateau
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("count", [0, 1, 9])
def test_with_few_nodes_it_is_too_early(count):
    found = plateau([float(place) for place in range(count)])
    assert found.state == "too early"
    assert f"{count} of the 10" in found.reason


def test_a_search_that_climbs_is_improving():
    found = plateau([float(place) for place in range(40)])
    assert found == (
        "improving",
        "10 new bests in the last 10 of 40 nodes; the same scores in random order would bring 0.3 there on average.",
    )


def test_a_long_stretch_without_a_new_best_is_a_plateau_whatever_failed_in_it():
    found = plateau([1.0, 2.0, *[None] * 5, *[1.5] * 5])
    assert found.state == "plateau"
    assert found.reason.startswith(
        "No new best in the last 10 of 12 nodes; the same scores in random order would bring"
    )


def test_a_longer_search_is_given_more_time():
    assert plateau([float(place) for place in range(200)] + [0.0] * 40).state == "improving"
    assert plateau([float(place) for place in range(200)] + [0.0] * 70).state == "plateau"


def test_the_baseline_alone_is_no_improvement_and_failures_alone_are_no_plateau():
    assert plateau([5.0, *[1.0] * 9]).state == "too early"
    assert plateau([5.0, *[1.0] * 10]).state == "plateau"
    assert plateau([None] * 50) == ("too early", "None of 50 finished nodes has a score.")


def test_the_yardstick_is_what_random_order_brings():
    rng = random.Random(0)
    brought = 0
    for _ in range(4000):
        order = [rng.random() for _ in range(40)]
        brought += sum(order[place] > max(order[:place]) for place in range(30, 40))
    assert brought / 4000 == pytest.approx(sum(1 / place for place in range(31, 41)), rel=0.1)


@given(st.lists(st.none() | st.integers(-5, 5).map(float), max_size=60))
def test_every_search_is_in_exactly_one_state_and_says_why(values):
    found = plateau(values)
    assert found.reason.endswith(".")
    if found.state == "improving":
        best = [place for place, value in enumerate(values) if value is not None and value == max(filter_none(values))]
        assert best[0] >= len(values) - max(10, len(values) / 4 + 1)


def filter_none(values):
    return [value for value in values if value is not None]
