"""check-domain with real sandboxes: bad evaluators are caught, good domains pass."""

import json
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from asi_evolve import domains
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.errors import NotFound, SandboxUnavailable
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.check_bench import CheckBench
from asi_evolve.sandbox.domain_check import check_domain
from asi_evolve.sandbox.preparation import Grant

from ..domains.test_own_cases import NUMBER

TOML = """
default_stage = "explore"
[domain]
name = "disc"
version = "1"
title = "A disc on a line from 0 to 1"
summary = "The larger its radius, the better."
[candidate]
entry = "disc.py"
[outputs.disc]
file = "disc.json"
max_bytes = 2000
[metrics.radius]
description = "Its radius"
[fitness]
metric = "radius"
[[stages]]
name = "explore"
cpu_seconds = 5
evaluator_cpu_seconds = 1
"""
HARNESS = """
import json, sys
sys.path.insert(0, "/job/candidate")
from disc import disc
with open("/job/out/disc.json", "w") as stream:
    json.dump(disc(), stream)
"""
BASELINE = "def disc():\n    return [0.5, 0.5]\n"
SAY = """
import json
def say(**told):
    with open("/job/result/metrics.json", "w") as stream:
        json.dump(told, stream)
    raise SystemExit
"""
READ = (
    SAY
    + """
def number(value):
    if type(value) is not float or not -1e308 <= value <= 1e308:
        raise ValueError(f"{value!r:.50} is no number of this problem")
    return value
try:
    with open("/job/outputs/disc.json") as stream:
        x, r = map(number, json.load(stream))
except (ValueError, TypeError, RecursionError) as error:
    say(invalid=f"Expected a disc, but {error!r:.200}")
"""
)
STRICT = """
if not 0 <= r <= x <= 1 - r:
    say(invalid="Expected a disc from 0 to 1.")
say(metrics={"radius": r})
"""
BAD = {
    "naive": (
        SAY
        + """
x, r = json.load(open("/job/outputs/disc.json"))
if r > x or x + r > 1:  # false for NaN
    say(invalid="Expected a disc from 0 to 1.")
say(metrics={"radius": r if x == x else 0.5})
""",
        [
            r"\[0\] is NaN: scored 0.5, where nothing may be scored",
            r"\[1\] is -Infinity: expected a score or a refusal, but it ended as infrastructure_error: .*-Infinity",
            r"\[1\] is null: expected a score or a refusal.*TypeError",
            r"random bytes: expected a score or a refusal.*UnicodeDecodeError",
            r"2000 lists that do not end: expected a score or a refusal.*RecursionError",
        ],
    ),
    "trusting": (
        READ + "say(metrics={'radius': r})",
        [r"\[1\] is 1e308: scored 1e\+308, better than the honest 0.5"],
    ),
    "sloppy": (
        READ
        + """
1 / r
while x < 0 < r:
    pass
if r < 0 < x:
    say(metrics={"radius": 0.0, "mine": r})
"""
        + STRICT,
        [
            r"\[1\] is 0.0: expected a score or a refusal.*ZeroDivisionError",
            r"\[0\] is -0.5: expected a score or a refusal.*went over a bound",
            r"\[1\] is -0.5: reported metrics that the candidate made up: mine",
        ],
    ),
}


def make_domain(root, evaluator, toml=TOML, **files):
    files = {"domain.toml": toml, "brief.md": "brief", "harness.py": HARNESS, "evaluator.py": evaluator} | files
    files = {"baseline/disc.py": BASELINE} | files
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text))
    return root


def check(folder, **options):
    told = []
    options = {"stage": None, "python": sys.executable, "cpus": 2, "gpus": (), "progress": told.append} | options
    report = check_domain(load_domain(folder), **options)
    assert told
    return report


def lines(report, state):
    return [f"{line.case.removeprefix('disc.json: ')}: {line.text}" for line in report.lines if line.state == state]


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_evaluator_is_caught(isolation, tmp_path, kind):
    evaluator, holes = BAD[kind]
    report = check(make_domain(tmp_path, evaluator))
    assert not report.passed
    failed = lines(report, "failed")
    for said in holes:
        assert any(re.match(said, line) for line in failed), (said, failed)


@pytest.mark.slow
def test_a_strict_evaluator_of_the_same_problem_passes(isolation, tmp_path):
    report = check(make_domain(tmp_path, READ + STRICT))
    assert (report.passed, lines(report, "failed"), lines(report, "warning")) == (True, [], [])
    assert (report.domain, report.stage, report.tier) == ("disc", "explore", isolation.name)
    refused = [line for line in lines(report, "ok") if "refused: Expected a disc" in line]
    assert len(refused) > 20


@pytest.mark.slow
def test_a_tolerance_is_suspected_and_the_domains_own_case_proves_it(isolation, tmp_path):
    too_large = BASELINE.replace("[0.5, 0.5]", "[0.5, 0.5000005]")
    cases = {"refused/too_large.py": too_large, "scored/same.py": BASELINE, "scored/same.toml": "score = 0.5"}
    folder = make_domain(
        tmp_path, READ + STRICT.replace("0 <= r <= x <= 1 - r", "abs(x - 0.5) + r <= 0.5 + 1e-6"), **cases
    )
    report = check(folder)
    assert lines(report, "failed") == ["refused/too_large: expected a refusal, but it was scored 0.5000005"]
    (suspected,) = lines(report, "warning")
    assert suspected.startswith("times 1 + x: gains up to 5e-07 at +1e-06, and is refused at")
    assert "scored/same: scored 0.5" in lines(report, "ok")


@pytest.mark.slow
def test_evaluators_that_hang_again_and_again_end_the_check(isolation, tmp_path):
    hanging = SAY + "while open('/job/outputs/disc.json', 'rb').read() != b'[0.5, 0.5]':\n    pass\n"
    hanging += "say(metrics={'radius': 0.5})"
    toml = TOML.replace("evaluator_cpu_seconds = 1", "evaluator_cpu_seconds = 0.5")
    report = check(make_domain(tmp_path, hanging, toml))
    assert 3 <= sum("went over a bound" in line for line in lines(report, "failed")) <= 5
    assert re.match(r"further malformed outputs: \d+ were not run", lines(report, "failed")[-1])


@pytest.mark.slow
def test_arrays_that_are_not_declared_reach_the_evaluator_and_a_pickle_among_them_is_caught(isolation, tmp_path):
    harness = "import numpy as np\nnp.savez('/job/out/a.npz', x=np.array([1.0, 2.0]))"
    evaluator = """
    import json
    import numpy as np
    try:
        x = np.load("/job/outputs/a.npz", allow_pickle=True)["x"]
        told = {"metrics": {"radius": 0.0 if x.dtype == object else float(x[0])}}
    except Exception:
        told = {"invalid": "no arrays"}
    json.dump(told, open("/job/result/metrics.json", "w"))
    """
    toml = TOML.replace("disc.json", "a.npz").replace("max_bytes = 2000", "max_bytes = 100000")
    report = check(make_domain(tmp_path, evaluator, toml, **{"harness.py": harness}))
    assert any("as pickled objects: scored 0" in line for line in lines(report, "failed"))
    assert any("declare its arrays" in line for line in lines(report, "warning"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", [NUMBER, Path(domains.__file__).parent / "circle_packing"], ids=lambda path: path.name
)
def test_our_own_domains_pass(isolation, folder):
    report = check(folder)
    assert (report.passed, lines(report, "failed"), lines(report, "warning")) == (True, [], [])


def test_a_baseline_without_a_score_ends_the_check_with_its_reason(isolation, tmp_path):
    report = check(make_domain(tmp_path, READ + STRICT, **{"baseline/disc.py": "def disc():\n    return [][0]\n"}))
    (line,) = report.lines
    assert (line.case, line.state) == ("baseline", "failed")
    assert "IndexError" in line.text


def test_a_baseline_that_would_be_refused_as_a_candidate_is_told(isolation, tmp_path):
    toml = TOML.replace('entry = "disc.py"', 'entry = "disc.py"\nmust_define = ["squares"]')
    folder = make_domain(tmp_path, READ + STRICT, toml)
    report = check_domain(
        load_domain(folder), stage=None, python=sys.executable, cpus=1, gpus=(), progress=lambda line: None
    )
    assert [(line.case, line.state) for line in report.lines] == [("baseline", "failed")]
    assert "squares" in report.lines[0].text


def test_what_is_missing_is_told_before_anything_runs(isolation, tmp_path):
    folder = make_domain(tmp_path, READ + STRICT)
    with pytest.raises(NotFound, match="out of explore, but got 'moon'"):
        check(folder, stage="moon")
    with pytest.raises(SandboxUnavailable, match="ASI_EVOLVE_GPUS"):
        check(make_domain(tmp_path / "gpu", READ + STRICT, TOML + "gpus = 1\n"))
    toml = TOML.replace("[candidate]", 'requirements = ["no-such-package-at-all"]\n[candidate]')
    broken = make_domain(tmp_path / "lacking", READ + STRICT, toml, **{"baseline/disc.py": "def disc(): return 1/0\n"})
    with pytest.raises(SandboxUnavailable, match=r"needs no-such-package-at-all \(missing\) .* pip install 'no-such"):
        check(broken)


@pytest.fixture
def bench(isolation, interpreter, tmp_path):
    domain = load_domain(NUMBER)
    return CheckBench(tmp_path, domain, domain.spec.stages[0], Grant(isolation, interpreter, 1, ()))


def test_given_outputs_are_judged_without_a_run_and_by_the_same_strict_take_over(bench, tmp_path):
    end = bench.judge({"number.json": b"7"})
    assert (end.outcome, end.metrics, end.artifacts) == (Outcome.SCORED, {"value": 7.0}, ("outputs/number.json",))
    assert end.usage.cpu_seconds == 0  # the evaluator is not counted, and nothing else ran
    assert bench.judge({}).reason == "Expected the output number.json, but the run left none."
    assert bench.judge({"number.json": b"1" * 2000}).outcome is Outcome.INVALID_OUTPUT
    assert list(tmp_path.iterdir()) == []


def test_a_bench_that_was_stopped_starts_nothing_more(bench, tmp_path):
    bench.stop()
    assert bench.judge({"number.json": b"7"}).outcome is Outcome.CANCELLED
    assert list(tmp_path.iterdir()) == []


def test_the_arrays_of_a_run_come_back_as_they_were_taken_over(isolation, interpreter, tmp_path):
    domain = load_domain(Path(domains.__file__).parent / "circle_packing")
    bench = CheckBench(tmp_path, domain, domain.spec.stages[0], Grant(isolation, interpreter, 1, ()))
    ran = bench.run(domain.baseline)
    (tmp_path / "packing.npz").write_bytes(ran.outputs["packing.npz"])
    with np.load(tmp_path / "packing.npz") as arrays:
        assert arrays["radii"].sum() == pytest.approx(ran.end.metrics["sum_radii"])


def test_the_report_can_be_read_by_a_program(isolation, tmp_path, capsys):
    from asi_evolve.server.cli import main

    folder = make_domain(tmp_path, READ + STRICT, **{"baseline/disc.py": "def disc():\n    return [][0]\n"})
    assert main(["check-domain", str(folder), "--json"]) == 1
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert (report["domain"], report["passed"], report["lines"][0]["state"]) == ("disc", False, "failed")
    assert "running the baseline" in shown.err
