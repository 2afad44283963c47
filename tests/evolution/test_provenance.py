"""Shares of origins, which candidates are the best, and which knowledge stands out."""

import pytest
from asi_evolve.evolution.provenance import ItemUse, Origins, best_count, most_helpful, never_used
from asi_evolve.evolution.statistics import Mean
from hypothesis import given
from hypothesis import strategies as st

COUNT = st.integers(0, 10_000)


@given(COUNT, COUNT, COUNT, COUNT)
def test_the_three_shares_are_parts_of_one_whole(cognition, experience, both, neither):
    shares = Origins(cognition, experience, both, neither).shares()
    if cognition + experience + both + neither == 0:
        assert shares is None
    else:
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0


def test_a_candidate_of_both_is_half_of_each():
    assert Origins(cognition=3, experience=1, both=4, neither=2).shares() == (0.5, 0.3, 0.2)


@given(st.integers(0, 10**6))
def test_the_best_are_a_tenth_but_at_least_five_where_there_are(scored):
    count = best_count(scored)
    assert count <= scored
    assert count >= min(scored, 5)
    assert scored <= 50 or scored / 10 <= count < scored / 10 + 1


def item(number, retrieved=0, used=0, gain=None):
    return ItemUse(number, f"item {number}", "seed", retrieved, used, 0, gain)


def test_an_item_is_idle_when_it_was_shown_often_and_never_named():
    items = [item(1, 9), item(2, 3), item(3, 2), item(4, 9, used=1), item(5, 9)]
    assert [entry.id for entry in never_used(items, 5)] == [1, 5, 2]
    assert [entry.id for entry in never_used(items, 2)] == [1, 5]


def test_an_item_helped_when_its_users_gained_more_than_their_error():
    items = [
        item(1, used=3, gain=Mean(2.0, 1.9, 3)),
        item(2, used=3, gain=Mean(1.0, 0.1, 3)),
        item(3, used=1, gain=Mean(50.0, None, 1)),
        item(4, used=3, gain=Mean(1.0, 1.5, 3)),
        item(5, used=2, gain=Mean(-1.0, 0.1, 2)),
        item(6, used=2),
    ]
    assert [entry.id for entry in most_helpful(items, 5)] == [2, 1], "one user is luck, a loss is no help"
