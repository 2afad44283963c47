"""Cells and ranges of an archive, and the measures of a program."""

import math

from asi_evolve.evolution.map_elites import Measure, Range, bins_of, cell_of, emigrants
from asi_evolve.evolution.measures import complexity, diversity
from hypothesis import given
from hypothesis import strategies as st

finite = st.floats(allow_nan=False, allow_infinity=False)
bins = st.integers(2, 100)


@given(values=st.lists(finite, min_size=1, max_size=30))
def test_a_range_grows_around_every_value(values):
    bounds = Range(values[0], values[0])
    for value in values:
        grown = bounds.grown(value)
        assert grown.low <= min(bounds.low, value)
        assert grown.high >= max(bounds.high, value)
        assert math.isfinite(grown.low)
        assert math.isfinite(grown.high)
        bounds = grown


@given(values=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30))
def test_each_time_it_grows_it_is_at_least_twice_as_wide(values):
    bounds = Range(values[0], values[0])
    for value in values:
        grown = bounds.grown(value)
        if grown != bounds:
            assert grown.high - grown.low >= 2 * (bounds.high - bounds.low) * (1 - 1e-9)
        bounds = grown


@given(values=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_a_range_never_grows_to_where_no_value_can_lie(values):
    bounds = Range(values[0], values[0])
    for value in values:
        bounds = bounds.grown(value, Measure("diversity", "diversity").possible)
        assert 0.0 <= bounds.low <= value <= bounds.high <= 1.0


def test_a_range_of_one_last_digit_grows_too():
    assert Range(math.nextafter(2.0, 0.0), 2.0).grown(4.0).high >= 4.0


@given(low=finite, high=finite, value=finite, bins=bins)
def test_every_value_has_a_bin_and_bins_follow_the_order_of_values(low, high, value, bins):
    bounds = Range(min(low, high), max(low, high))
    found = bounds.bin_of(value, bins)
    assert 0 <= found < bins
    assert bounds.bin_of(bounds.low, bins) == 0
    assert bounds.bin_of(bounds.high, bins) in (0, bins - 1)
    assert found <= bounds.bin_of(math.nextafter(value, math.inf), bins) or value == bounds.high


@given(digits=st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_a_cell_is_its_bins(digits):
    ranges = [Range(0.0, 10.0)] * len(digits)
    cell = cell_of([digit + 0.5 for digit in digits], ranges, 10)
    assert bins_of(cell, len(digits), 10) == tuple(digits)


def test_a_tenth_of_the_elites_emigrates_rounded_up():
    assert [emigrants(count, 0.1) for count in (0, 1, 10, 11, 30)] == [0, 1, 1, 2, 3]
    assert (emigrants(5, 0.0), emigrants(5, 1.0)) == (0, 5)


def test_complexity_is_the_length_in_characters():
    assert complexity({"a.py": "x = 1\n", "b/ä.py": "é\n"}) == 8.0


def test_diversity_is_the_mean_share_of_lines_to_change():
    program = {"a.py": "one\ntwo\nthree\nfour\n"}
    assert diversity(program, []) == 0.0
    assert diversity(program, [program]) == 0.0
    assert diversity(program, [{"a.py": "    one\n\n    two\nthree\nfour\n"}]) == 0.0, "layout does not count"
    assert diversity(program, [{"a.py": "one\n2\nthree\nfour\n"}, {"a.py": "else"}]) == (0.25 + 1.0) / 2
    assert diversity({"a.py": ""}, [{"a.py": "\n"}]) == 0.0
