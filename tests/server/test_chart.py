"""The drawing of curves: valid XML whatever the labels, ticks that are round numbers, nothing outside the picture."""

import math
import re
from xml.etree import ElementTree

import pytest
from asi_evolve.evolution.curves import Curve, Point
from asi_evolve.server.chart import DASHES, HEIGHT, WIDTH, Series, draw, tick_label, ticks
from hypothesis import given
from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"
SCORES = st.floats(allow_nan=False, allow_infinity=False)


def series(label, *values, spread=0.0):
    points = tuple(Point(place, value, value - spread, value + spread) for place, value in enumerate(values))
    return Series(label, Curve(points, "no band", max(len(values) - 1, 0)))


def dots(drawn):
    return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in ElementTree.fromstring(drawn).iter(f"{SVG}circle")]


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


@given(st.text(), st.text())
def test_any_label_is_valid_xml_and_no_script(title, label):
    drawn = draw(title, [series(label, 1.0, 2.0)])
    root = ElementTree.fromstring(drawn)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "title",
        "rect",
        "text",
        "g",
        "line",
        "path",
        "circle",
    }


def test_a_label_is_shown_as_it_is_and_a_long_one_is_cut():
    drawn = draw("<i>&'\"", [series("a < b & <script>alert(1)</script>", 1.0, 2.0), series("x" * 500, 1.0, 3.0)])
    texts = [element.text for element in ElementTree.fromstring(drawn).iter(f"{SVG}text")]
    assert "a < b & <script>alert(1)</script>" in texts
    assert "<i>&'\"" in texts
    assert any(text.startswith("xxx") and len(text) < 120 for text in texts)


def test_curves_differ_in_more_than_colour():
    drawn = draw("t", [series(str(place), 1.0, 2.0 + place) for place in range(8)])
    strokes = [
        (path.get("stroke"), path.get("stroke-dasharray", ""))
        for path in ElementTree.fromstring(drawn).iter(f"{SVG}path")
        if path.get("stroke-width") == "2.2"
    ]
    assert len(strokes) == 16, "each curve and its line in the legend"
    assert len(set(strokes)) == 8
    assert len({dash for _, dash in strokes}) == len(DASHES)


@given(st.lists(st.lists(SCORES, max_size=20), min_size=1, max_size=4))
def test_nothing_is_drawn_outside_the_plot(runs):
    drawn = draw("t", [series("s", *values) for values in runs])
    for path in ElementTree.fromstring(drawn).iter(f"{SVG}path"):
        places = numbers(path.get("d"))
        assert all(math.isfinite(place) and -0.1 <= place <= max(WIDTH, HEIGHT + 200) for place in places)


def test_bands_are_drawn_where_there_are_any():
    assert "fill-opacity" in draw("t", [series("s", 1.0, 2.0, spread=0.5)])
    assert "fill-opacity" not in draw("t", [series("s", 1.0, 2.0)])


def test_a_single_point_is_a_dot_and_no_point_is_a_legend_alone():
    assert len(dots(draw("t", [series("s", 1.0)]))) == 1
    assert dots(draw("t", [series("s")])) == []


def test_a_curve_ends_in_a_dot_so_that_a_rise_in_the_last_round_is_seen():
    drawn = draw("t", [series("long", 1.0, 2.0, 3.0), series("short", 1.0, 3.0)])
    long, short = dots(drawn)
    assert long[1] == short[1]
    assert short[0] < long[0] == WIDTH - 24
    assert "s</text>" in draw("t", [series("s")])


@given(SCORES, SCORES)
def test_ticks_are_few_and_within_their_range(a, b):
    low, high = sorted((a, b))
    if high - low < 1e-9 * max(abs(low), abs(high)) or high - low < 1e-300:
        return
    found = ticks(low, high)
    assert len(found) <= 9
    slack = (high / 2 - low / 2) * 1e-6
    assert all(low - slack <= tick <= high + slack for tick in found)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 40.0, ["0", "10", "20", "30", "40"]),
        (2.6340, 2.6361, ["2.6340", "2.6345", "2.6350", "2.6355", "2.6360"]),
        (-127.0, -34.0, ["-120", "-100", "-80", "-60", "-40"]),
        (-0.5, 0.5, ["-0.4", "-0.2", "0", "0.2", "0.4"]),
    ],
)
def test_ticks_are_round_numbers_with_the_digits_that_tell_them_apart(low, high, labels):
    found = ticks(low, high)
    assert [tick_label(tick, found[1] - found[0]) for tick in found] == labels


def test_rounds_are_whole():
    assert ticks(0.0, 3.0, whole=True) == [0.0, 1.0, 2.0, 3.0]
