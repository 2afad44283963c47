"""The pictures: well-formed whatever the numbers, with what they say in them."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from asi_evolve import domains
from hypothesis import given, settings
from hypothesis import strategies as st

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path.insert(0, str(FOLDER))

from judging.audit import Audit  # noqa: E402
from judging.comparison import Baseline, compare  # noqa: E402
from judging.drawing import draw_curves, draw_table  # noqa: E402
from judging.forms import MOST_POINTS, Claim, Finding  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
FOUND = {"30": Audit(2.0, 0.1, 0.2, 0.0), "100": Audit(0.5, 0.05, 0.9, 0.0)}
ROWS = compare(
    {"recall_loss_30": 2.0, "recall_loss_100": 0.5, "recall_accuracy": 0.9},
    {
        "recall_loss_30": Baseline(1.9, 0.2, 3),
        "recall_loss_100": Baseline(0.7, 0.1, 3),
        "recall_accuracy": Baseline(0.8, 0.05, 3),
    },
)
CLAIM = Claim(100, {"30": 2.0, "100": 0.5}, [(1, 3.0), (30, 2.0), (100, 0.5)])


def drawn(picture: str, kind: str, tag: str) -> list[ElementTree.Element]:
    return [element for element in ElementTree.fromstring(picture).iter(SVG + tag) if element.get("class") == kind]


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(SVG + "text")]


def test_a_panel_has_the_audited_points_the_band_and_the_claimed_curve():
    picture = draw_curves("Stage explore", "note", {"recall": FOUND}, {"recall": CLAIM}, ROWS)
    panel = drawn(picture, "panel", "rect")
    assert len(panel) == 1
    points = [dot for dot in drawn(picture, "audit", "circle") if len(dot)]
    assert [dot[0].text for dot in points] == ["30 %: 2 +- 0.1 nats", "100 %: 0.5 +- 0.05 nats"]
    # Less loss is further down, later is further right.
    assert float(points[0].get("cy")) < float(points[1].get("cy"))
    assert float(points[0].get("cx")) < float(points[1].get("cx"))
    # The curve goes through the audited points, which have the same losses.
    curve = drawn(picture, "claim", "path")[-1].get("d", "").removeprefix("M").split("L")
    assert curve[1:] == [f"{dot.get('cx')} {dot.get('cy')}" for dot in points]
    # The baseline stands where it was measured, around the same place from left to right.
    legend, *bands = drawn(picture, "band", "rect")
    middles = [float(band.get("x")) + float(band.get("width")) / 2 for band in bands]
    assert middles == pytest.approx([float(dot.get("cx")) for dot in points], abs=0.11)
    assert float(bands[0].get("height")) == pytest.approx(2 * float(bands[1].get("height")), abs=0.2)
    assert float(legend.get("y")) < float(panel[0].get("y"))


def test_without_a_baseline_nothing_says_there_is_one():
    bare = compare({"recall_loss_30": 2.0, "recall_loss_100": 0.5}, {})
    picture = draw_curves("t", "n", {"recall": FOUND}, {"recall": CLAIM}, bare)
    assert drawn(picture, "band", "rect") == [] and not any("baseline" in text for text in texts(picture))


def test_the_table_says_each_metric_its_baseline_and_each_verdict():
    findings = [Finding("causality", "passed", 1e-9, 1e-5, "No leak."), Finding("cost", "flagged", 2, 1, "x" * 500)]
    picture = draw_table("t", "n", ROWS, findings)
    said = texts(picture)
    for expected in ("recall_accuracy", "0.9", "0.8", "0.05", "+2.0", "causality", "No leak.", "flagged"):
        assert expected in said
    assert max(map(len, said)) < 130
    # More accuracy is better, and so is less loss.
    assert len(drawn(picture, "better", "rect")) == 2 and len(drawn(picture, "worse", "rect")) == 1


numbers = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e-300, 1e30])
losses = st.floats(0, 1e30)


@settings(max_examples=100, deadline=None)
@given(
    losses,
    losses,
    st.lists(st.tuples(st.floats(0, 1e15), numbers), max_size=20),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.text(max_size=20).filter(lambda text: text.isprintable()),
)
def test_pictures_are_well_formed_and_inside_the_page_whatever_the_numbers(first, last, points, mean, sd, words):
    found = {"30": Audit(first, first / 2, 0.0, 0.0), "100": Audit(last, 0.0, 1.0, 0.0)}
    rows = compare({"recall_loss_100": last}, {"recall_loss_100": Baseline(mean, sd, 2)})
    picture = draw_curves(words, words, {"recall": found}, {"recall": Claim(100, {}, points)}, rows)
    page = ElementTree.fromstring(picture)
    for dot in page.iter(SVG + "circle"):
        assert 0 <= float(dot.get("cy", "nan")) <= float(page.get("height", "nan"))
        assert 0 <= float(dot.get("cx", "nan")) <= float(page.get("width", "nan"))
    ElementTree.fromstring(draw_table(words, words, rows, [Finding(words, "passed", None, None, words)]))


def test_the_largest_pictures_are_within_the_declared_sizes():
    names = ["recall", "overwrite", "mqar", "fuzzy_recall", "selective_copying", "compression", "lm"]
    claim = Claim(10**6, {}, [(step * 1000, 1.23456789) for step in range(MOST_POINTS)])
    picture = draw_curves("t", "n", dict.fromkeys(names, FOUND), dict.fromkeys(names, claim), ROWS)
    assert len(picture.encode()) < 500_000
    findings = [Finding("causality", "passed", 1.0, 1.0, "\u4e2d" * 600)] * 200
    assert len(draw_table("t", "n", ROWS * 20, findings).encode()) < 300_000
