"""The best that as many tries from the baseline would have found."""

import itertools

import numpy as np
import pytest
from asi_evolve.evolution.evidence.best_of import best_of
from hypothesis import given
from hypothesis import strategies as st

tries = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=10, max_size=40)


def test_below_ten_tries_there_is_no_estimate():
    assert best_of([1.0] * 9, baseline=0.0, draws=5, seed=0) is None
    assert best_of([1.0] * 10, baseline=0.0, draws=5, seed=0) is not None


def test_it_is_the_mean_of_the_maximum_over_every_draw():
    seen = [0.5, 3.0, 1.0, None, 2.0, 2.0, 7.0, -4.0, None, 1.5]
    floored = [max(value if value is not None else 1.0, 1.0) for value in seen]
    every = np.mean([max(draw) for draw in itertools.product(floored, repeat=3)])
    assert best_of(seen, baseline=1.0, draws=3, seed=0).expected == pytest.approx(every)


@given(tries, st.floats(-1e6, 1e6), st.integers(1, 500))
def test_it_lies_between_the_baseline_and_the_best_seen_and_grows_with_the_draws(seen, baseline, draws):
    found = best_of(seen, baseline, draws, seed=0)
    top = max([baseline, *(value for value in seen if value is not None)])
    room = 1e-9 * max(abs(baseline), abs(top), 1)
    assert baseline - room <= found.expected <= top + room
    assert baseline - room <= found.interval.low <= found.interval.high <= top + room
    assert best_of(seen, baseline, draws + 1, seed=0).expected >= found.expected - room


@given(tries, st.randoms())
def test_the_order_of_the_tries_says_nothing(seen, rng):
    shuffled = seen[:]
    rng.shuffle(shuffled)
    assert best_of(shuffled, 0.0, 7, seed=1) == best_of(seen, 0.0, 7, seed=1)


def test_with_few_draws_from_many_tries_the_interval_covers_the_truth_about_as_often_as_it_says():
    truth = np.random.default_rng(0).normal(size=(200_000, 3)).max(axis=1).mean()
    covered = 0
    for seed in range(200):
        found = best_of(list(np.random.default_rng(seed).normal(size=200)), baseline=-9.0, draws=3, seed=seed)
        covered += found.interval.low <= truth <= found.interval.high
    assert 0.88 <= covered / 200 <= 0.99
