"""What the evaluator takes for a report of the trainer, and what it refuses, whatever it is."""

import json
import math
from copy import deepcopy

import pytest
from asi_evolve.domains.fuzzing import Expectation, mutants
from asi_evolve.domains.loader import load_domain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .boundary_lab import FOLDER, imported
from .judge_lab import REGIMES, report_of

(forms,) = imported("judging.forms")


@pytest.fixture
def read(tmp_path):
    """A way to have a report read: as an object, or as text."""

    def reading(report, regimes=REGIMES, seeds=(0, 1, 2)):
        path = tmp_path / "runs.json"
        path.write_bytes(report if isinstance(report, bytes) else json.dumps(report).encode())
        return forms.read_runs(path, "explore", 0, list(regimes), list(seeds))

    return reading


def changed(change):
    report = report_of()
    change(report)
    return report


def test_an_honest_report_is_read_in_the_order_of_the_stage(read):
    report = report_of()
    report["runs"].reverse()
    found = read(report)
    assert [(run.regime, run.seed) for run in found.runs] == [(regime, seed) for regime in REGIMES for seed in range(3)]
    assert found.runs[0].curve[0] == (0, 0.115)
    assert (found.candidate_calls, found.candidate_seconds) == (99, 1.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(format=2), "format 1"),
        (lambda r: r.update(format=True), "format 1"),
        (lambda r: r.update(stage="verify_bed"), "stage explore"),
        (lambda r: r.update(seed=0.0), "seed 0"),
        (lambda r: r["runs"][3]["warm"].update(kl="nan"), "warm.kl of stress 0"),
        (lambda r: r["runs"].pop(), "a list of 9 runs"),
        (lambda r: r["runs"][0].update(seed=7), "Expected a run of on_policy with seed 0"),
        (lambda r: r["runs"][0].update(seed=True), "a regime and a seed"),
        (lambda r: r["runs"][0].update(regime="stress"), "Expected a run of on_policy with seed 0"),
        (lambda r: r["runs"][3].update(pass_at_1=1.5), "stress 0 to be a number from 0 to 1"),
        (lambda r: r["runs"][3].update(pass_at_1=0.31), "to meet pass_at_1 at 0.31"),
        (lambda r: r["runs"][3].update(pass_at_1="0.3"), "to be a number"),
        (lambda r: r["runs"][3].update(greedy=None), "greedy of stress 0"),
        (lambda r: r["runs"][3]["warm"].update(pass_at_1=0.2, by_task={"add": 0.2}), "to meet the warm start at 0.2"),
        (lambda r: r["runs"][3].pop("warm"), "warm of stress 0"),
        (lambda r: r["runs"][3].update(curve=[]), "a curve of stress 0"),
        (lambda r: r["runs"][3]["curve"].pop(), "up to step 30"),
        (lambda r: r["runs"][3]["curve"].insert(1, [0, 0.2]), "from step 0 up"),
        (lambda r: r["runs"][3]["curve"].insert(1, [2.5, 0.2]), "an integer"),
        (lambda r: r["runs"][3]["curve"].insert(1, [2]), "points [step, pass@1]"),
        (lambda r: r["runs"][3].update(steps=0), "steps of stress 0"),
        (lambda r: r["runs"][3].update(by_task={}), "by_task of stress 0"),
        (lambda r: r["runs"][3].update(by_task={"a": 0.1, "b": 0.2}), "among those of its tasks"),
        (lambda r: r["runs"][3].update(by_task={"../x": 0.3}), "names of tasks"),
        (lambda r: r["runs"][3].update(by_task={"other": 0.3}), "the same tasks in every run"),
        (lambda r: r["runs"][3].update(kl=10**400), "a huge integer"),
        (lambda r: r["runs"][3].update(length_start=0), "length_start of stress 0"),
        (lambda r: r.update(candidate_calls=-1), "candidate_calls"),
    ],
)
def test_what_is_not_as_it_has_to_be_is_refused_by_its_name(read, change, said):
    with pytest.raises(forms.Refusal) as refused:
        read(changed(change))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b'{"format": 1}', b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b'{"a": 1, "a": 2}',
     json.dumps(report_of()).encode() + b"0", b" " * 1_000_001],
    ids=["empty", "cut", "list", "null", "bare", "bytes", "deep", "nan", "twice", "behind", "large"],
)  # fmt: skip
def test_what_is_no_report_at_all_is_refused(read, text):
    with pytest.raises(forms.Refusal):
        read(text)


def test_every_malformed_output_that_check_domain_makes_is_refused_or_gains_nothing(read):
    outputs = {"runs.json": json.dumps(report_of()).encode()}
    seen = 0
    for mutant in mutants(load_domain(FOLDER).spec.outputs, outputs):
        content = mutant.make()
        if content is None or mutant.nudge is not None:
            continue
        seen += 1
        try:
            found = read(content)
        except forms.Refusal:
            continue
        assert mutant.expectation is not Expectation.REFUSED, mutant.name
        assert math.fsum(run.pass_at_1 for run in found.runs) <= 9 * 0.3 + 1e-6, mutant.name
    assert seen > 50


everything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data(), everything)
def test_anything_in_place_of_anything_is_refused_or_read_as_finite_numbers(read, data, value):
    report = deepcopy(report_of(regimes=("stress",), seeds=(0,)))
    place = data.draw(st.sampled_from(["format", "runs", "candidate_seconds", *report["runs"][0]]))
    (report if place in report else report["runs"][0])[place] = value
    try:
        (run,) = read(report, ("stress",), (0,)).runs
    except forms.Refusal as refused:
        assert len(str(refused)) < 400
        return
    assert 0 <= run.pass_at_1 <= 1
    assert all(math.isfinite(number) for number in run.numbers.values())
