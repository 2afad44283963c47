"""Seeds for more runs: what others have scored with first, never a hidden one, never one twice."""

from asi_evolve.evolution.evidence.pairing import fresh_seeds
from hypothesis import given
from hypothesis import strategies as st

seeds = st.sets(st.integers(0, 20))


def test_seeds_of_the_parent_come_before_those_of_the_others_and_the_campaigns_own_fill_up():
    parent, baseline, best = {3, 8}, {8, 9}, {9, 11}
    assert fresh_seeds(5, seen={3}, others=[parent, baseline, best], hidden=(), base=0) == [8, 9, 11, 0, 1]


def test_among_equals_the_seed_that_more_of_them_have_comes_first():
    assert fresh_seeds(2, seen=(), others=[set(), {1, 5}, {5}], hidden=(), base=0) == [5, 1]


@given(st.integers(1, 12), seeds, st.lists(seeds, max_size=3), seeds, st.integers(0, 5))
def test_as_many_as_wanted_all_fresh_none_hidden_and_no_pair_left_out(count, seen, others, hidden, base):
    found = fresh_seeds(count, seen=seen, others=others, hidden=hidden, base=base)
    assert len(found) == len(set(found)) == count
    assert not set(found) & (seen | hidden)
    to_share = set().union(*others) - seen - hidden
    assert len(set(found) & to_share) >= min(count, len(to_share))
    assert all(seed in to_share or seed >= base for seed in found)
