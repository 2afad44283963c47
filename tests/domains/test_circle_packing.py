"""Circle packing: what is scored, what is refused and how it is said, and the programs of the demo."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import random
import re
import resource
import subprocess
import sys
import tomllib
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from asi_evolve import domains
from asi_evolve.domains.loader import load_domain
from asi_evolve.domains.static_check import check_candidate
from asi_evolve.evolution.edits import apply_edits, parse_edits
from hypothesis import given, settings
from hypothesis import strategies as st

FOLDER = Path(domains.__file__).parent / "circle_packing"
PROGRAMS = FOLDER.parent.parent / "server" / "demo" / "programs"
DOMAIN = load_domain(FOLDER)
GRID = [[0.1 + 0.2 * i, 0.1 + 0.2 * j] for i in range(5) for j in range(5)] + [[0.2, 0.2]]
GRID_RADII = [0.0999] * 25 + [0.041]


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"circle_packing_{name}", FOLDER / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


exact = _load("exact")


class Job:
    """A job folder that is worked through by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("candidate", "out", "outputs", "result"):
            (path / name).mkdir()

    def params(self, n: int, seed: int = 0, best_known: float = 2.0) -> None:
        parameters = {"n": n, "best_known": best_known}
        text = {"stage": "check", "seed": seed, "instance": None, "parameters": parameters, "entry": "packing.py"}
        (self.path / "params.json").write_text(json.dumps(text))

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-B", str(FOLDER / script), str(self.path)]
        return subprocess.run(command, cwd="/tmp", capture_output=True, text=True, timeout=300)

    def harness(self, program: str, n: int = 26, seed: int = 0, **neighbours: str) -> dict[str, np.ndarray]:
        """What the harness leaves for a program; raises `RuntimeError` with its stderr where it fails."""
        for name, text in {"packing": program, **neighbours}.items():
            (self.path / "candidate" / f"{name}.py").write_text(text)
        self.params(n, seed)
        done = self.run("harness.py")
        if done.returncode:
            raise RuntimeError(done.stderr)
        with np.load(self.path / "out" / "packing.npz", allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def evaluate(self, centers: Any, radii: Any, claimed: float | None = None, n: int | None = None) -> dict[str, Any]:
        """The evaluator's whole answer."""
        centers, radii = np.asarray(centers, dtype=np.float64), np.asarray(radii, dtype=np.float64)
        self.params(len(radii) if n is None else n)
        with np.errstate(over="ignore", invalid="ignore"):
            sum_radii = np.float64(radii.sum() if claimed is None else claimed)
        np.savez(self.path / "outputs" / "packing.npz", centers=centers, radii=radii, claimed=sum_radii)
        done = self.run("evaluator.py")
        assert done.returncode == 0, done.stderr
        return json.loads((self.path / "result" / "metrics.json").read_text())

    def score(self, program: str) -> dict[str, Any]:
        """Harness and evaluator, one after the other."""
        arrays = self.harness(program)
        return self.evaluate(arrays["centers"], arrays["radii"], float(arrays["claimed"]), n=26)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def holds(centers: Any, radii: Any) -> bool:
    """Feasibility from the definition, in rational numbers; shares nothing with the evaluator."""
    circles = [(Fraction(x), Fraction(y), Fraction(r)) for (x, y), r in zip(centers, radii, strict=True)]
    inside = all(0 <= r <= x <= 1 - r and r <= y <= 1 - r for x, y, r in circles)
    return inside and all(
        (a[2] + b[2]) ** 2 <= (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 for a, b in combinations(circles, 2)
    )


class TestTheFolder:
    def test_loads_with_two_instances_and_walks_check_before_explore(self) -> None:
        assert [DOMAIN.parameters(name)[1]["n"] for name in (None, "n32")] == [26, 32]
        assert [stage.name for stage in DOMAIN.spec.cascade("explore")] == ["check", "explore"]
        assert [stage.name for stage in DOMAIN.spec.cascade("verify")] == ["check", "explore", "verify"]

    @pytest.mark.parametrize("instance", ["n26", "n32"])
    def test_the_proven_bound_is_the_one_that_is_proved_and_no_known_packing_breaks_it(self, instance: str) -> None:
        parameters = DOMAIN.parameters(instance)[1]
        bound = DOMAIN.spec.fitness.score_bound(parameters)
        assert bound is not None
        squared = Fraction(bound) ** 2
        assert (2 * squared) ** 2 * 3 >= int(parameters["n"]) ** 2, "at least sqrt(n / (2 sqrt(3))), decided exactly"
        assert bound == pytest.approx(math.sqrt(int(parameters["n"]) / (2 * math.sqrt(3))), rel=1e-7)
        assert float(parameters["best_known"]) < bound

    def test_the_baseline_passes_the_static_check(self) -> None:
        check_candidate(DOMAIN.baseline, DOMAIN.spec.candidate)

    @pytest.mark.parametrize("item", DOMAIN.cognition(), ids=lambda item: item.title)
    def test_a_cognition_item_is_whole_and_names_a_source(self, item: Any) -> None:
        assert len(item.title) <= 80
        assert item.symptom.strip()
        assert item.tags
        assert all(word in item.body for word in ("Mechanism:", "How:", "Pitfall:"))
        assert re.fullmatch(
            r"arxiv:(\d{4}\.\d{5}|\d{4}\.\d{4}|[a-z-]+/\d{7})|doi:10\.\d{4,}/\S+|https?://\S+", item.source
        )

    def test_cognition_covers_the_field_without_repeating_a_title(self) -> None:
        titles = [item.title for item in DOMAIN.cognition()]
        assert len(titles) == len(set(titles)) >= 14


class TestHarness:
    def test_a_program_without_parameters_runs_as_published(self, job: Job) -> None:
        program = f"def construct_packing():\n    return {GRID}, {GRID_RADII}, 2.5385\n"
        arrays = job.harness(program)
        assert {name: (array.dtype.str, array.shape) for name, array in arrays.items()} == {
            "centers": ("<f8", (26, 2)),
            "radii": ("<f8", (26,)),
            "claimed": ("<f8", ()),
        }

    @pytest.mark.parametrize("signature", ["n", "n=26", "count", "n, tries=3"])
    def test_a_parameter_for_n_gets_n(self, job: Job, signature: str) -> None:
        first = signature.split("=")[0].split(",")[0]
        program = f"def construct_packing({signature}):\n    return [[0, 0]] * {first}, [0] * {first}, 0\n"
        assert job.harness(program, n=32)["centers"].shape == (32, 2)

    def test_an_optional_parameter_of_another_name_keeps_its_default(self, job: Job) -> None:
        program = "def construct_packing(tries=3):\n    return [[0, 0]] * tries, [0] * tries, 0\n"
        assert job.harness(program, n=32)["radii"].shape == (3,)

    def test_the_seed_fixes_both_global_generators_before_the_import(self, job: Job) -> None:
        program = (
            "import random, numpy as np\nr = [random.random(), np.random.rand()]\n"
            "def construct_packing():\n    return [[0, 0]] * 2, r, 0\n"
        )
        first, again, other = (job.harness(program, seed=seed)["radii"].tolist() for seed in (1, 1, 2))
        assert first == again != other

    def test_neighbours_can_be_imported(self, job: Job) -> None:
        program = "import layouts\ndef construct_packing():\n    return layouts.CENTERS, [0.0], 0\n"
        assert job.harness(program, layouts="CENTERS = [[0.5, 0.25]]")["centers"].tolist() == [[0.5, 0.25]]

    def test_nan_goes_out_for_the_evaluator_to_refuse(self, job: Job) -> None:
        program = "def construct_packing():\n    return [[float('nan'), 0]] * 26, [0.1] * 26, float('inf')\n"
        assert np.isnan(job.harness(program)["centers"][0, 0])

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("[][0]", "IndexError: list index out of range"),
            (
                "return [[0, 0]], [0]",
                "Expected construct_packing to return (centers, radii, sum_radii), but got 2 values.",
            ),
            ("return None", "but got NoneType."),
            ("return [[0, 0]], ['0.1'], 0", "Expected radii to be real numbers, but got an array of dtype <U3."),
            ("return [[0, 0]], [object()], 0", "Expected radii to be real numbers, but got an array of dtype object."),
            (
                "return [[0, 1j]], [0.1], 0",
                "Expected centers to be real numbers, but got an array of dtype complex128.",
            ),
            ("raise SystemExit(0)", "Expected construct_packing to return, but it left by sys.exit(0)."),
        ],
    )
    def test_what_is_no_packing_fails_with_its_reason(self, job: Job, body: str, said: str) -> None:
        with pytest.raises(RuntimeError, match=re.escape(said)):
            job.harness(f"def construct_packing():\n    {body}\n")
        assert not (job.path / "out" / "packing.npz").exists()


class TestWhatIsScored:
    def test_a_packing_that_holds_scores_its_own_sum(self, job: Job) -> None:
        metrics = job.evaluate(GRID, GRID_RADII)["metrics"]
        assert metrics["sum_radii"] == math.fsum(GRID_RADII) == metrics["sum_radii_tolerant"]
        assert metrics["shrink"] == metrics["max_violation"] == 0
        assert set(metrics) == set(DOMAIN.spec.metrics)

    def test_touching_circles_are_no_violation_and_count_as_contacts(self, job: Job) -> None:
        centers = [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]
        metrics = job.evaluate(centers, [0.25] * 4)["metrics"]
        assert (metrics["sum_radii"], metrics["contacts"], metrics["wall_contacts"]) == (1.0, 4, 8)
        assert metrics["gap_to_best"] == 1.0

    def test_a_violation_in_the_last_bit_is_shrunk_away_and_scored(self, job: Job) -> None:
        too_much = math.nextafter(0.25, 1)
        metrics = job.evaluate([[0.25, 0.5], [0.75, 0.5]], [too_much] * 2)["metrics"]
        assert metrics["sum_radii"] == 0.5
        assert metrics["shrink"] == too_much - 0.25
        assert metrics["sum_radii_tolerant"] == 2 * too_much

    def test_a_wrong_claim_is_told_and_does_not_count(self, job: Job) -> None:
        metrics = job.evaluate(GRID, GRID_RADII, claimed=2.7)["metrics"]
        assert (metrics["claimed"], metrics["claim_honest"]) == (2.7, 0)
        assert metrics["sum_radii"] == math.fsum(GRID_RADII)
        assert job.evaluate(GRID, GRID_RADII)["metrics"]["claim_honest"] == 1

    def test_the_drawing_shows_every_circle_and_every_contact(self, job: Job) -> None:
        job.evaluate([[0.25, 0.25], [0.75, 0.25], [0.5, 0.75]], [0.25, 0.25, 0.1])
        svg = (job.path / "result" / "packing.svg").read_text()
        assert svg.count('class="circle"') == 2
        assert svg.count('class="circle loose"') == 1
        assert svg.count('class="contact"') == 1 + 4

    @pytest.mark.parametrize("radius", [5e-324, 1e-308, 1e-200, 0.0])
    def test_tiny_numbers_are_scored_as_what_they_are_and_cost_no_time(self, job: Job, radius: float) -> None:
        centers = [[x + 5e-324, y] for x, y in GRID]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        metrics = job.evaluate(centers, [radius] * 26)["metrics"]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert metrics["sum_radii"] == math.fsum([radius] * 26)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("centers", "radii", "said"),
        [
            ([[0.25, 0.5], [0.75 - 2e-9, 0.5]], [0.25, 0.25], "Circles 0 and 1 overlap by 2.000000e-9, more than the"),
            ([[0.2, 0.5]], [0.25], "Circle 0 crosses the left side by 5.000000e-2, more than the 1e-9"),
            ([[0.9, 0.5]], [0.25], "Circle 0 crosses the right side by"),
            ([[0.5, 0.2]], [0.25], "Circle 0 crosses the bottom side by"),
            ([[0.5, 0.9]], [0.25], "Circle 0 crosses the top side by"),
            (
                [[-1e-12, 0.5]],
                [0.0],
                "Circle 0 crosses the left side by 1.000000e-12 with its centre outside the square",
            ),
            ([[0.5, 0.5]], [-0.1], "Expected radii of zero or more, but circle 0 has radius -0.1."),
            ([[0.5, 0.5]], [-5e-324], "Expected radii of zero or more, but circle 0 has radius"),
            ([[math.nan, 0.5]], [0.1], "Expected finite numbers, but the centre of circle 0 is NaN."),
            ([[0.5, 0.5]], [math.nan], "Expected finite numbers, but the radius of circle 0 is NaN."),
            ([[0.5, -math.inf]], [0.1], "Expected finite numbers, but the centre of circle 0 is infinite."),
            ([[0.5, 0.5]], [math.inf], "Expected finite numbers, but the radius of circle 0 is infinite."),
            ([[0.5, 0.5], [0.1, 0.1]], [1.7e308, 1.7e308], "Circles 0 and 1 overlap by 3.400000e+308, more than"),
            ([[1e308, 0.5]], [0.1], "Circle 0 crosses the right side by 1.000000e+308, more than the 1e-9"),
        ],
    )
    def test_each_fault_has_its_own_sentence(self, job: Job, centers: Any, radii: Any, said: str) -> None:
        answer = job.evaluate(centers, radii, claimed=0.0)
        assert answer.keys() == {"invalid"}
        assert answer["invalid"].startswith(said)

    def test_the_worst_fault_is_named(self, job: Job) -> None:
        said = job.evaluate([[0.25, 0.5], [0.7, 0.5], [0.0, 0.0]], [0.25, 0.25, 0.1])["invalid"]
        assert said.startswith("Circle 2 crosses the left side by 1.000000e-1")

    def test_what_a_tolerant_evaluator_would_take_is_told_beside(self, job: Job) -> None:
        said = job.evaluate([[0.25, 0.5], [0.75 - 5e-7, 0.5]], [0.25, 0.25])["invalid"]
        assert said.endswith("an evaluator that grants 1e-6 would take it, with a sum of 0.5.")
        assert "grants" not in job.evaluate([[0.25, 0.5], [0.75 - 2e-6, 0.5]], [0.25, 0.25])["invalid"]

    def test_another_number_of_circles(self, job: Job) -> None:
        said = job.evaluate([*GRID, [0.4, 0.4]], [*GRID_RADII, 0.001], n=26)["invalid"]
        assert said == "Expected centers of shape (26, 2), but got (27, 2)."

    def test_a_claim_that_is_no_number(self, job: Job) -> None:
        said = job.evaluate(GRID, GRID_RADII, claimed=math.nan)["invalid"]
        assert said == "Expected sum_radii to be a finite number, but got nan."

    @pytest.mark.parametrize(
        ("file", "refused"),
        [
            ("17_lying_sum_radii.py", None),
            ("18_nan_centers.py", "NaN"),
            ("19_inf_radii.py", "infinite"),
            ("21_tolerance_overlap.py", "more than the 1e-9"),
            ("14_monkeypatch_numpy.py", None),
        ],
    )
    def test_the_shared_attacks_on_the_score(self, job: Job, file: str, refused: str | None) -> None:
        material = os.environ.get("EVOLVE_TEST_MATERIAL")
        if not material:
            pytest.skip("EVOLVE_TEST_MATERIAL, the folder with attacks/, is not set")
        answer = job.score((Path(material) / "attacks" / file).read_text())
        if refused:
            assert refused in answer["invalid"]
        else:
            assert answer["metrics"]["sum_radii"] == pytest.approx(2.5385)


def _nearly_tight(seed: int, n: int, noise: float) -> tuple[list[list[float]], list[float]]:
    """Random centres with radii that touch something, each then off by up to `noise`."""
    rng = random.Random(seed)
    centers = [[rng.random(), rng.random()] for _ in range(n)]
    radii: list[float] = []
    for index, (x, y) in enumerate(centers):
        room = min(x, y, 1 - x, 1 - y)
        others = [
            math.dist(centers[index], c) - (radii[j] if j < index else 0.0) for j, c in enumerate(centers) if j != index
        ]
        radii.append(max(0.0, min([room, *others]) * rng.choice([1.0, 0.5]) + noise * rng.uniform(-1, 1)))
    return centers, radii


packings = st.builds(
    _nearly_tight,
    st.integers(0, 2**32),
    st.integers(1, 8),
    st.sampled_from([0.0, 1e-17, 1e-16, 1e-13, 4e-10, 2e-9]),
)


class TestProperties:
    @settings(deadline=None, max_examples=300)
    @given(packings)
    def test_whatever_is_scored_holds_and_gains_nothing(self, packing: tuple[Any, Any]) -> None:
        centers, radii = packing
        try:
            result = exact.solve(centers, radii)
        except exact.NotFeasible as refusal:
            assert not holds(centers, radii)
            assert refusal.amount > 1e-9 or not refusal.mendable
            return
        assert holds(centers, result.radii)
        assert result.score <= math.fsum(radii)
        assert result.shrink <= result.max_violation <= 1e-9
        assert result.score >= math.fsum(radii) - len(radii) * (result.shrink + 2**-53)
        assert (result.shrink == 0) == holds(centers, radii)

    @settings(deadline=None, max_examples=200)
    @given(packings)
    def test_no_smaller_common_shrink_would_do(self, packing: tuple[Any, Any]) -> None:
        centers, radii = packing
        try:
            shrink = exact.solve(centers, radii).shrink
        except exact.NotFeasible:
            return
        if shrink > 0:
            less = Fraction(shrink) * (1 - Fraction(1, 10**9))
            assert not holds(centers, [max(Fraction(0), Fraction(r) - less) for r in radii])

    @settings(deadline=None, max_examples=100)
    @given(packings, st.randoms())
    def test_the_order_of_the_circles_does_not_matter(self, packing: tuple[Any, Any], rng: random.Random) -> None:
        centers, radii = packing
        order = list(range(len(radii)))
        rng.shuffle(order)

        def outcome(indices: Any) -> Any:
            try:
                result = exact.solve([centers[i] for i in indices], [radii[i] for i in indices])
                return result.score, result.shrink
            except exact.NotFeasible as refusal:
                return refusal.amount

        assert outcome(range(len(radii))) == outcome(order)

    @given(st.floats(min_value=0, allow_infinity=False))
    def test_units_are_exact_and_rounding_down_never_rounds_up(self, value: float) -> None:
        whole = exact.units(value)
        assert Fraction(whole, exact.ONE) == Fraction(value)
        assert exact.double_below(whole) == value
        assert Fraction(exact.double_below(whole - 1)) <= Fraction(whole - 1, exact.ONE)


def demo_rounds() -> list[dict[str, Any]]:
    return tomllib.loads((PROGRAMS / "script.toml").read_text())["rounds"]


def demo_programs() -> dict[str, dict[str, str]]:
    """Name to files of the baseline and of every round, edits applied."""
    programs = {"baseline": dict(DOMAIN.baseline)}
    for entry in demo_rounds():
        text = (PROGRAMS / entry["file"]).read_text()
        programs[entry["name"]] = (
            {"packing.py": text}
            if entry["form"] == "code"
            else apply_edits(programs[entry["parent"]], parse_edits(text))
        )
    return programs


class TestDemoProgrammes:
    def test_every_round_can_be_submitted(self) -> None:
        for files in demo_programs().values():
            check_candidate(files, DOMAIN.spec.candidate)

    def test_every_round_is_written_out(self) -> None:
        titles = {item.title for item in DOMAIN.cognition()}
        for entry in demo_rounds():
            assert set(entry["inspired_by"]) <= titles, entry["name"]
            entry["analysis"].format(score=1.0, parent_score=0.5, outcome="scored")
            assert entry["motivation"].strip()
            assert entry["lessons"]
            assert entry["tags"]

    def test_no_program_lies_unused(self) -> None:
        assert {path.name for path in PROGRAMS.iterdir() if path.is_file()} == {
            "script.toml",
            *(entry["file"] for entry in demo_rounds()),
        }

    @pytest.mark.slow
    def test_rounds_climb_and_the_broken_and_the_lying_one_have_no_score(self, tmp_path: Path) -> None:
        scores: dict[str, float] = {}
        for name, files in demo_programs().items():
            (tmp_path / name).mkdir()
            job = Job(tmp_path / name)
            if name == "neighbour_list":
                with pytest.raises(RuntimeError, match="IndexError"):
                    job.score(files["packing.py"])
            elif name == "inflated_grid":
                assert "overlap" in job.score(files["packing.py"])["invalid"]
            else:
                scores[name] = job.score(files["packing.py"])["metrics"]["sum_radii"]
        assert scores["baseline"] == pytest.approx(0.96, abs=0.01)
        # A chain of hops can end where it began; all other rounds gain.
        assert all(
            later > earlier - 1e-6 for earlier, later in zip(scores.values(), list(scores.values())[1:], strict=False)
        )
        assert scores["polished"] >= 2.63
