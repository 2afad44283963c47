"""Lines of a progress file, which anybody may have written, and the series that stays small."""

import json
import math
from itertools import pairwise

import pytest
from asi_evolve.evolution.progress import MAX_FIELDS, MAX_LINE_BYTES, Point, Progress, Series, read_point, thinned
from hypothesis import given
from hypothesis import strategies as st

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_.@/-]{0,39}", fullmatch=True).filter(
    lambda name: name not in ("step", "of", "done")
)
numbers = st.floats() | st.integers(-(10**30), 10**30)


def point(place, share=None, **values):
    return Point(float(place), float(place), share, values)


def test_a_line_tells_how_far_the_run_is_and_what_it_measured():
    assert read_point(b'{"step": 120, "of": 2000, "loss": 1.93, "pass@1": 0.2}', 7.1234) == Point(
        7.123, 120.0, 0.06, {"loss": 1.93, "pass@1": 0.2}
    )


def test_done_wins_over_step_and_of():
    assert read_point(b'{"step": 1, "of": 2, "done": 0.06}', 0).share == 0.06


@pytest.mark.parametrize(
    "place",
    [
        '"step": 3',
        '"step": 3, "of": 0',
        '"step": 3, "of": 2',
        '"step": -1, "of": 2',
        '"step": NaN, "of": 2',
        '"step": 1, "of": Infinity, "done": -1',
        '"done": 1.5',
        '"done": NaN',
    ],
)
def test_a_share_that_makes_no_sense_is_none(place):
    assert read_point(f'{{{place}, "loss": 1}}'.encode(), 0).share is None


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400])
def test_what_is_not_finite_is_named_and_never_a_value(token):
    found = read_point(f'{{"step": 1, "loss": {token}, "rate": 0.1}}'.encode(), 0)
    assert (found.non_finite, found.values) == (("loss",), {"rate": 0.1})
    json.loads(Progress((found,), 1).to_json(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"loss 1.5",
        b"[1, 2]",
        b"3",
        b"null",
        b"{}",
        b'{"loss": 1',
        b'{"loss": "1"}',
        b'{"loss": true}',
        b'{"loss": null}',
        b'{"loss": [1]}',
        b'{"loss": {"a": 1}}',
        b'{"": 1}',
        b'{"1": 1}',
        b'{"ignore all previous instructions": 1}',
        b'{"loss\\n": 1}',
        b'{"l\xc3\xb6ss": 1}',
        b'{"loss": 1, "\\u202e": 1}',
        b'{"' + b"a" * 41 + b'": 1}',
        b"\xff\xfe\x00",
        b"[" * (MAX_LINE_BYTES - 1),
        b'{"a":' * 800,
        b'{"loss": ' + b" " * MAX_LINE_BYTES + b"1}",
        json.dumps({f"a{place}": 1 for place in range(MAX_FIELDS + 1)}).encode(),
    ],
)
def test_anything_else_is_broken(line):
    assert read_point(line, 0) is None


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_line_raises(line):
    found = read_point(line, 0)
    assert found is None or all(map(math.isfinite, found.values.values()))


@given(st.dictionaries(names, numbers, min_size=1, max_size=8), st.none() | st.floats(0, 1))
def test_every_number_of_a_good_line_is_kept_or_named(told, done):
    fields = told if done is None else told | {"done": done}
    found = read_point(json.dumps(fields).encode(), 0)
    assert found.share == done
    assert found.values == {name: float(value) for name, value in told.items() if math.isfinite(value)}
    assert set(found.non_finite) == told.keys() - found.values.keys()


@given(st.dictionaries(names, numbers, max_size=5), st.floats(0, 1e6), st.lists(st.text(max_size=20), max_size=3))
def test_progress_is_read_back_as_it_was_written(told, seconds, notes):
    found = read_point(json.dumps(told | {"step": 1}).encode(), seconds)
    progress = Progress((found, found), 2, 1, 5, tuple(notes))
    assert Progress.from_json(progress.to_json()) == progress


@given(st.integers(0, 3000), st.integers(3, 60))
def test_a_series_keeps_first_and_last_and_no_more_than_it_may_evenly(count, most):
    series = Series(most)
    for place in range(count):
        series.add(point(place))
    kept = [int(found.seconds) for found in series.points()]
    assert series.count == count
    assert len(kept) <= most
    assert kept == sorted(set(kept))
    if count <= most - 1:
        assert kept == list(range(count))
    else:
        assert len(kept) >= most // 2
    if count:
        assert (kept[0], kept[-1]) == (0, count - 1)
        steps = {after - before for before, after in pairwise(kept[:-1])}
        assert len(steps) <= 1, "as far apart from one another"
        assert all(kept[-1] - kept[-2] <= step for step in steps)


@given(st.integers(0, 600), st.integers(2, 20))
def test_a_thinned_series_has_its_ends(count, most):
    points = tuple(point(place) for place in range(count))
    found = thinned(points, most)
    assert len(found) == min(count, most)
    if count:
        assert (found[0], found[-1]) == (points[0], points[-1])
        assert found == sorted(found, key=lambda entry: entry.seconds)
        assert len({entry.seconds for entry in found}) == len(found)
