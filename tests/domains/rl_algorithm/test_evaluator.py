"""The evaluator as the Engineer runs it: metrics, artifacts, and a sentence where there is nothing to score."""

import json
from xml.etree import ElementTree

import pytest
from asi_evolve.domains.loader import load_domain

from .boundary_lab import FOLDER
from .judge_lab import REGIMES, Job, report_of, told

SVG = "{http://www.w3.org/2000/svg}"
SHIFT = {"on_policy": 0.02, "stress": 0.07, "flipped": 0.03}
SPEC = load_domain(FOLDER).spec


def texts(picture):
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(SVG + "text")]


def classes(picture, tag):
    return [element.get("class") for element in ElementTree.fromstring(picture).iter(SVG + tag)]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """Metrics of a run of the baseline."""
    job = Job(tmp_path_factory.mktemp("baseline"), report_of())
    return job.judge()["metrics"]


def test_a_baseline_is_measured_in_everything_that_is_declared_but_its_gain(baseline):
    of_the_bed = {name for name in SPEC.metrics if "_real" not in name}
    assert of_the_bed - set(baseline) == {"gain", "gain_low", "gain_high"}
    assert set(baseline) <= set(SPEC.metrics)
    assert baseline["pass_at_1"] == pytest.approx(0.3)


def test_a_candidate_is_told_its_gain_run_by_run_with_the_interval(tmp_path, baseline):
    report = report_of(pass_at_1=lambda regime, seed: 0.3 + SHIFT[regime] + 0.005 * seed)
    job = Job(tmp_path, report, baseline=told(baseline))
    metrics = job.judge()["metrics"]
    assert "gain" not in metrics, "the server computes it"
    assert metrics["pass_at_1"] == pytest.approx(0.345)
    assert 0 < metrics["gain_low"] < 0.045 < metrics["gain_high"]
    found = json.loads(job.left("comparison.json"))
    assert [gain["regime"] for gain in found["gains"]] == [regime for regime in REGIMES for _ in range(3)]
    assert found["interval"]["mean"] == pytest.approx(0.045)
    assert found["interval"]["runs"] == 9
    assert [curve["points"][-1] for curve in found["curves"]][:1] == [[30, pytest.approx(0.32)]]
    table, curves = job.left("table.svg"), job.left("curves.svg")
    assert any("9 paired runs: +0.045" in text and text.endswith("df): better.") for text in texts(table))
    assert classes(table, "circle").count("better") == 9
    assert (classes(curves, "path").count("baseline"), classes(curves, "path").count("own-band")) == (4, 3)
    for artifact in SPEC.artifacts:
        assert 100 < len(job.left(artifact.file)) <= artifact.max_bytes


def test_what_lies_inside_the_noise_is_said_to(tmp_path, baseline):
    report = report_of(pass_at_1=lambda regime, seed: 0.3 + (0.02 if seed else -0.03))
    job = Job(tmp_path, report, baseline=told(baseline))
    metrics = job.judge()["metrics"]
    assert metrics["gain_low"] < 0 < metrics["gain_high"]
    assert any("inside the noise" in text for text in texts(job.left("table.svg")))


def test_with_a_seed_that_the_baseline_has_not_run_there_is_no_interval(tmp_path, baseline):
    job = Job(tmp_path, report_of(seeds=(4000, 4001, 4002), seed=4), baseline=told(baseline, same_seed=False), seed=4)
    assert not {"gain_low", "gain_high"} & set(job.judge()["metrics"])
    assert any("no runs are paired" in text for text in texts(job.left("table.svg")))


def test_the_seeds_of_verification_are_others_than_those_of_exploration(tmp_path):
    of = {"stage": "verify_bed", "seed": 3}
    job = Job(tmp_path / "right", report_of(seeds=(3500,), **of), seed=3, stage="verify_bed")
    assert "metrics" in job.judge()
    job = Job(tmp_path / "wrong", report_of(seeds=(3000,), **of), seed=3, stage="verify_bed")
    assert "seed 3500" in job.judge()["invalid"]


def test_at_the_check_nothing_is_measured(tmp_path):
    job = Job(tmp_path, report_of(seeds=(0,), stage="check"), stage="check")
    assert job.judge() == {"metrics": {"gain": 0.0}}


@pytest.mark.parametrize("report", ["", "[]", '{"format": 1, "runs": [NaN]}', report_of(seeds=(0, 1))])
def test_what_is_no_report_is_refused_in_one_sentence(tmp_path, report):
    answer = Job(tmp_path, report).judge()
    assert set(answer) == {"invalid"}
    assert answer["invalid"].startswith("runs: Expected")


def test_the_pictures_stand_with_a_single_run_and_a_perfect_one(tmp_path):
    report = report_of(regimes=("stress",), seeds=(0,), pass_at_1=lambda regime, seed: 0.6)
    job = Job(tmp_path, report, regimes="stress", seeds_per_run=1)
    assert job.judge()["metrics"]["pass_at_1_stress_0"] == 0.6
    assert any("Nothing to compare with" in text for text in texts(job.left("table.svg")))
    assert classes(job.left("curves.svg"), "path").count("band") == 0
