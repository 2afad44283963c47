"""The evaluator: what an honest model is given, and what comes of everything else that could lie in its place."""

from __future__ import annotations

import io
import json
import math
import pickle
import sys
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asi_evolve import domains
from asi_evolve.domains.fuzzing import Expectation, mutants
from asi_evolve.domains.loader import load_domain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path[:0] = [str(FOLDER), str(Path(__file__).parent)]

from job_folder import Job, honest_report  # noqa: E402
from judging import audit, forms  # noqa: E402
from judging.comparison import compare, read_baseline  # noqa: E402

KNOWLEDGE = {"30": 1.5, "60": 2.5, "100": 4.0}


class Case:
    """A job with an honest model's outputs, to be spoilt."""

    def __init__(self, path: Path) -> None:
        self.job = Job(path)
        self.job.generate()
        self.logits = self.job.honest_logits(KNOWLEDGE)
        self.losses = self.job.losses(self.logits)
        self.report = honest_report(self.losses)
        self.shapes = {name: made.shape for name, made in self.logits.items()}

    @property
    def predictions(self) -> Path:
        return self.job.path / "outputs" / "predictions.npz"


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    return Case(tmp_path_factory.mktemp("job"))


def judge(case: Case, logits: Any = None, report: Any = None) -> dict[str, Any]:
    case.job.leave(case.logits if logits is None else logits, case.report if report is None else report)
    return case.job.judge()


def refusal(case: Case, **given: Any) -> str:
    answer = judge(case, **given)
    assert list(answer) == ["invalid"], answer
    return answer["invalid"]


# ---- the honest ----


def test_an_honest_model_has_the_losses_that_it_has(case):
    case.job.leave(case.logits, case.report)
    metrics = case.job.evaluate()["metrics"]
    assert metrics == case.job.judge()["metrics"]
    for task in ("recall", "lm"):
        for at, loss in case.losses[task].items():
            assert metrics[f"{task}_loss_{at}"] == pytest.approx(loss, rel=1e-6)
        assert metrics[f"{task}_loss"] == pytest.approx(sum(case.losses[task].values()) / 3, rel=1e-6)
    assert metrics["lm_bpb"] == pytest.approx(case.losses["lm"]["100"] / math.log(2), rel=1e-6)
    assert metrics["twin_gap"] == 0
    assert abs(metrics["audit_gap"]) < 1e-5
    assert (metrics["cost_ratio"], metrics["parameters"], metrics["warnings"]) == (1.3, 120_000, 0)
    assert "score" not in metrics and "peak_memory_mb" not in metrics


def test_accuracy_is_the_share_of_questions_whose_answer_has_the_one_largest_logit(case):
    hidden = case.job.arrays("hidden", "recall")
    right = case.logits["recall@100"].argmax(-1) == hidden["labels"]
    expected = (right * hidden["weights"]).sum() / hidden["weights"].sum()
    assert judge(case)["metrics"]["recall_accuracy"] == pytest.approx(expected)
    constant = {name: np.zeros_like(made) for name, made in case.logits.items()}
    report = deepcopy(case.report)
    report["tasks"]["recall"]["claimed"] = dict.fromkeys(KNOWLEDGE, 3.9)
    metrics = judge(case, constant, report)["metrics"]
    assert metrics["recall_accuracy"] == 0
    assert metrics["recall_loss"] == pytest.approx(math.log(49))


def test_what_it_leaves_can_be_read_and_compares_with_the_baseline(case):
    case.job.params["baseline"] = {
        "recall_loss": {"mean": 1.0, "sd": 0.1, "seeds": 3},
        "recall_loss_100": {"mean": 0.5, "sd": 0.0, "seeds": 1},
        "lm_loss": {"mean": float("nan"), "sd": 0.1, "seeds": 3},
    }
    try:
        value = judge(case)["metrics"]["recall_loss"]
    finally:
        case.job.params["baseline"] = {}
    told = json.loads((case.job.path / "result" / "comparison.json").read_text())
    rows = {row["name"]: row for row in told["metrics"]}
    assert rows["recall_loss"]["in_sd"] == pytest.approx((value - 1.0) / 0.1)
    assert rows["recall_loss_100"]["in_sd"] is None and rows["recall_loss_100"]["mean"] == 0.5
    assert rows["lm_loss"]["mean"] is None
    curve = told["audited_losses"]["recall"]
    assert list(curve) == ["30", "60", "100"] and sum(curve.values()) / 3 == pytest.approx(value)
    assert {finding["check"] for finding in told["findings"]} == set(forms.REQUIRED_CHECKS)


def test_at_stage_check_a_report_without_a_refusal_is_all_it_takes(tmp_path):
    job = Job(tmp_path, tasks="")
    job.params["stage"] = "check"
    job.generate()
    report = honest_report({}) | {"cost_ratio": None}
    job.leave(None, report)
    metrics = job.evaluate()["metrics"]
    assert metrics["score"] == 0
    assert "cost_ratio" not in metrics and metrics["cost_exponent"] == 1.01
    assert "Nothing was trained" in (tmp_path / "result" / "curves.svg").read_text()


# ---- what the checks said ----


def test_a_refused_finding_is_told_with_its_check(case):
    report = deepcopy(case.report)
    report["findings"][9] |= {"verdict": "refused", "sentence": "Expected no quadratic cost, but got 1.9."}
    assert refusal(case, report=report).startswith(f"{report['findings'][9]['check']}: Expected no quadratic cost")
    # Nothing else is needed then.
    only = {"findings": [report["findings"][9]]}
    assert "Expected no quadratic cost" in refusal(case, report=only)
    assert (
        refusal(case, report={"refused": {"check": "constructor", "sentence": "No class."}}) == "constructor: No class."
    )


@pytest.mark.parametrize("check", forms.REQUIRED_CHECKS)
def test_a_check_that_nobody_ran_is_refused(case, check):
    report = deepcopy(case.report)
    report["findings"] = [finding for finding in report["findings"] if finding["check"] != check]
    assert check in refusal(case, report=report)


def test_warnings_are_counted_and_shown(case):
    report = deepcopy(case.report)
    report["findings"][0]["verdict"] = "warning"
    report["findings"][1] |= {"verdict": "flagged", "sentence": "<script>alert('&')</script>\u202e\x00 slow"}
    assert judge(case, report=report)["metrics"]["warnings"] == 2
    table = (case.job.path / "result" / "table.svg").read_text()
    assert "&lt;script&gt;" in table and "<script>" not in table and "\u202e" not in table and "\x00" not in table


# ---- claims ----


def test_a_loss_that_the_model_does_not_have_is_refused(case):
    report = deepcopy(case.report)
    report["tasks"]["recall"]["claimed"]["100"] = 0.0
    logits = case.logits | {"recall@100": case.logits["recall@30"]}
    assert refusal(case, logits=logits, report=report).startswith("audit: Expected a loss of about 0 nats")
    for within_the_noise in (-0.05, 0.05):
        report["tasks"]["recall"]["claimed"]["100"] = case.losses["recall"]["100"] + within_the_noise
        assert "metrics" in judge(case, report=report)


def test_answers_that_the_model_did_not_know_in_training_are_refused(case):
    report = deepcopy(case.report)
    report["tasks"]["recall"]["claimed"]["100"] = 2.8
    assert "It knew answers there that it did not know in training" in refusal(case, report=report)
    report = deepcopy(case.report)
    report["tasks"]["lm"]["claimed"]["100"] = 3 * case.losses["lm"]["100"] + 0.9
    assert "metrics" in judge(case, report=report)
    report["tasks"]["lm"]["claimed"]["100"] = 3 * case.losses["lm"]["100"] + 9
    assert refusal(case, report=report).startswith("audit: ")


def test_for_text_only_a_wild_claim_is_refused(case):
    report = deepcopy(case.report)
    report["tasks"]["lm"]["claimed"] = {at: 0.4 * loss for at, loss in case.losses["lm"].items()}
    assert "metrics" in judge(case, report=report)
    report["tasks"]["lm"]["claimed"]["30"] = 0.01
    assert refusal(case, report=report).startswith("audit: ")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_that_sees_what_comes_behind_is_refused(case, precision):
    limit = audit.TWINS_ALIKE[precision]
    report = case.report | {"precision": precision}
    row, question, other, other_question = case.job.arrays("hidden", "recall")["pairs"][3]
    for factor, verdict in ((0.5, "metrics"), (2.0, "invalid")):
        logits = deepcopy(case.logits)
        made = logits["recall@60"]
        centred = made[row, question] - made[row, question].mean()
        made[other, other_question, 5] += factor * limit * max(1.0, np.abs(centred).max())
        answer = judge(case, logits, report)
        assert list(answer) == [verdict]
        assert verdict == "metrics" or answer["invalid"].startswith("causality: ")


def test_a_constant_added_to_the_logits_is_no_difference(case):
    logits = deepcopy(case.logits)
    logits["recall@60"] += np.float32(3.0) * np.arange(16, dtype=np.float32)[:, None, None]
    metrics = judge(case, logits)["metrics"]
    assert metrics["twin_gap"] < 1e-5
    assert metrics["recall_loss_60"] == pytest.approx(case.losses["recall"]["60"], rel=1e-5)


def test_huge_logits_have_a_finite_loss_and_are_refused_for_what_was_claimed(case):
    logits = case.logits | {"recall@30": case.logits["recall@30"] * np.float32(1e37)}
    found = audit.audit(logits["recall@30"], audit.read_hidden(case.job.path / "hidden" / "recall.npz"))
    assert 1e30 < found.loss < math.inf
    assert refusal(case, logits=logits).startswith("audit: ")


# ---- hostile predictions ----


def test_predictions_that_are_not_finite_are_refused(case):
    for value in (np.nan, np.inf, -np.inf):
        logits = deepcopy(case.logits)
        logits["lm@60"][3, 1, 7] = value
        assert refusal(case, logits=logits) == "finite: Expected finite logits, but some of lm@60 are not."


def spoilt(case: Case) -> dict[str, Any]:
    name = "recall@30"
    made = case.logits[name]
    return {
        "one missing": {key: value for key, value in case.logits.items() if key != name},
        "one more": case.logits | {"recall@61": made},
        "a row less": case.logits | {name: made[:-1]},
        "a question more": case.logits | {name: np.concatenate([made, made], axis=1)},
        "another vocabulary": case.logits | {name: made[..., :-1]},
        "flat": case.logits | {name: made.ravel()},
        "float64": case.logits | {name: made.astype(np.float64)},
        "float16": case.logits | {name: made.astype(np.float16)},
        "big endian": case.logits | {name: made.astype(">f4")},
        "integers": case.logits | {name: made.astype(np.int32)},
        "Fortran": case.logits | {name: np.asfortranarray(made)},
        "complex": case.logits | {name: made.astype(np.complex64)},
        "objects": case.logits | {name: np.array([[[{}]]], dtype=object)},
    }


@pytest.mark.parametrize(
    "kind",
    [
        "one missing",
        "one more",
        "a row less",
        "a question more",
        "another vocabulary",
        "flat",
        "float64",
        "float16",
        "big endian",
        "integers",
        "Fortran",
        "complex",
        "objects",
    ],
)
def test_predictions_of_another_form_are_refused(case, kind):
    assert refusal(case, logits=spoilt(case)[kind]).startswith("predictions: Expected")


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def archive_of(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_pickles_are_not_unpickled(case, tmp_path):
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark))
    case.job.leave(case.logits, case.report)
    honest = case.predictions.read_bytes()
    assert pickle.loads(bomb) is None and mark.exists()
    mark.unlink()
    for content in (
        bomb,
        archive_of({f"{name}.npy": bomb for name in case.shapes}),
        archive_of(
            {
                f"{name}.npy": header(b"{'descr': '|O', 'fortran_order': False, 'shape': (), }\n") + bomb
                for name in case.shapes
            }
        ),
        honest + bomb,
    ):
        case.predictions.write_bytes(content)
        answer = case.job.evaluate()
        assert not mark.exists()
        assert "invalid" in answer or content.startswith(honest)


def test_archives_that_unpack_to_more_than_they_should_are_refused_for_little(case):
    case.job.leave(case.logits, case.report)
    shape = ", ".join(map(str, case.shapes["lm@30"]))
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    bomb = header(text) + bytes(150_000_000)
    entries = {f"{name}.npy": bomb if name == "lm@30" else b"" for name in sorted(case.shapes)}
    case.predictions.write_bytes(archive_of(entries))
    del bomb, entries
    assert case.predictions.stat().st_size < 1_000_000
    assert case.job.evaluate()["invalid"].startswith("predictions: ")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(case, compression):
    case.job.leave(None, case.report)
    case.predictions.write_bytes(archive_of({f"{name}.npy": b"" for name in case.shapes}, compression))
    assert "stored or deflated" in case.job.evaluate()["invalid"]


def test_missing_outputs_are_refused(case):
    case.job.leave(None, case.report)
    case.predictions.unlink(missing_ok=True)
    assert case.job.evaluate()["invalid"].startswith("predictions: ")
    case.job.leave(case.logits, case.report)
    (case.job.path / "outputs" / "report.json").unlink()
    assert case.job.evaluate()["invalid"].startswith("report: ")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_in_place_of_predictions_are_refused_or_mean_the_same(case, data):
    """In one process, since nothing here may raise anything else than a Refusal."""
    case.job.leave(case.logits, case.report)
    honest = case.predictions.read_bytes()
    kind = data.draw(st.sampled_from(["random", "cut", "flipped", "zeros", "spliced"]))
    place = data.draw(st.integers(0, len(honest) - 1))
    if kind == "random":
        content = data.draw(st.binary(max_size=200))
    elif kind == "cut":
        content = honest[:place]
    elif kind == "zeros":
        content = bytes(place % 5000)
    elif kind == "spliced":
        content = honest[:place] + data.draw(st.binary(min_size=1, max_size=50)) + honest[place:]
    else:
        near_end = data.draw(st.booleans())
        place = len(honest) - 1 - place % 600 if near_end else place
        content = honest[:place] + bytes([honest[place] ^ data.draw(st.integers(1, 255))]) + honest[place + 1 :]
    case.predictions.write_bytes(content)
    try:
        read = forms.read_predictions(case.predictions, case.shapes)
    except forms.Refusal:
        return
    assert all(read[name].shape == shape and read[name].dtype == np.float32 for name, shape in case.shapes.items())


# ---- hostile reports ----

NUMBERS = ("parameters", "parameter_ratio", "cost_exponent", "cost_ratio")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [None, "1", True, [], {}, -1e9, 1e300, 10**400, 1e-9])
def test_numbers_that_nobody_can_have_measured_are_refused(case, name, value):
    if (name, value) == ("cost_exponent", 1e-9):
        return
    assert refusal(case, report=case.report | {name: value}).startswith(f"report: Expected {name}")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\x00",
        b"nothing",
        b"[]",
        b"3",
        b"null",
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b'{"findings": NaN}',
        b'{"findings": 1e999}',
        b'{"parameters": ' + b"9" * 100_000 + b"}",
        b"{} " * 2,
        b'{"findings": []}',
        b'{"refused": 3}',
        b'{"refused": {"check": 1, "sentence": []}}',
        b" " * 1_000_001,
    ],
)
def test_a_report_of_another_form_is_refused(case, text):
    case.job.leave(case.logits, case.report)
    (case.job.path / "outputs" / "report.json").write_bytes(text)
    assert case.job.judge()["invalid"].startswith("report: Expected")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_anything_in_any_place_of_the_report_is_refused_or_of_the_form(case, tmp_path, data):
    report = deepcopy(case.report)
    *way, last = data.draw(st.sampled_from(places(report)))
    inside: Any = report
    for key in way:
        inside = inside[key]
    inside[last] = data.draw(anything)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    try:
        read = forms.read_report(path, ["recall", "lm"], list(KNOWLEDGE))
    except forms.Refusal as refused:
        assert len(str(refused)) < 800
        assert str(refused).isprintable()
        return
    assert set(NUMBERS) <= set(read.numbers)
    for name, number in read.numbers.items():
        low, high = forms.BOUNDS[name]
        assert low <= number <= high
    assert {finding.check for finding in read.findings} >= set(forms.REQUIRED_CHECKS)
    assert not any(finding.verdict == "refused" for finding in read.findings)
    assert all(math.isfinite(loss) for claim in read.claims.values() for _, loss in claim.curve)


@pytest.mark.slow
def test_what_check_domain_leaves_in_place_of_the_outputs_gains_nothing(case):
    """All cases of `asi-evolve check-domain`, without a process for each."""
    case.job.leave(case.logits, case.report)
    outputs = case.job.path / "outputs"
    honest = {path.name: path.read_bytes() for path in outputs.iterdir()}
    metrics = case.job.judge()["metrics"]
    tried = refused = 0
    for mutant in mutants(load_domain(FOLDER).spec.outputs, honest):
        content, path = mutant.make(), outputs / mutant.file
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        answer = case.job.judge()
        path.write_bytes(honest[mutant.file])
        tried, refused = tried + 1, refused + ("invalid" in answer)
        if mutant.expectation is Expectation.REFUSED:
            assert "invalid" in answer, mutant.name
        for name, value in answer.get("metrics", {}).items():
            assert math.isfinite(value)
            if mutant.expectation is Expectation.NO_GAIN and name.startswith(("recall", "lm")):
                gain = value - metrics[name] if name.endswith("accuracy") else metrics[name] - value
                assert gain <= 1e-9, mutant.name
    assert tried > 200
    assert refused > tried / 2


# ---- the arithmetic ----


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 50), st.integers(2, 40))
def test_losses_and_their_error_are_those_of_the_definition(seed, scale, vocabulary):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(5, 4, vocabulary))).astype(np.float32)
    labels, weights = rng.integers(vocabulary, size=(5, 4)), rng.integers(0, 2, (5, 4)).astype(float)
    weights[0, 0] = 1
    hidden = audit.Hidden(labels, weights, np.zeros((0, 4), np.int64), vocabulary, 0.0)
    found = audit.audit(logits, hidden)
    terms: list[tuple[int, float]] = []
    for row, question in zip(*np.nonzero(weights), strict=True):
        z = [float(one) for one in logits[row, question]]
        top = max(z)
        terms.append((row, math.log(math.fsum(math.exp(one - top) for one in z)) + top - z[labels[row, question]]))
    mean = math.fsum(term for _, term in terms) / len(terms)
    assert found.loss == pytest.approx(mean, rel=1e-9, abs=1e-12)
    by_row = [math.fsum(term - mean for row, term in terms if row == one) for one in range(5)]
    assert found.standard_error == pytest.approx(math.sqrt(sum(s * s for s in by_row)) / len(terms), rel=1e-6, abs=1e-9)


def test_differences_are_told_in_the_baselines_deviations_where_it_has_some():
    told = {"a": {"mean": 2.0, "sd": 0.5, "seeds": 3}, "b": {"mean": 2.0, "sd": None, "seeds": 1}, "c": {"mean": None}}
    rows = {row.name: row for row in compare({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}, read_baseline(told))}
    assert (rows["a"].difference, rows["a"].in_sd, rows["a"].seeds) == (-1.0, -2.0, 3)
    assert (rows["b"].difference, rows["b"].in_sd) == (-1.0, None)
    assert rows["c"].mean is None and rows["d"].mean is None
