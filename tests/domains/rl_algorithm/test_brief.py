"""brief.md says what the code does: names, shapes, regimes, bounds and stages are those of the domain."""

import re
import tomllib
from pathlib import Path

import asi_evolve
import pytest

torch = pytest.importorskip("torch")
from .boundary_lab import imported  # noqa: E402

DOMAIN = Path(asi_evolve.__file__).parent / "domains" / "rl_algorithm"
BRIEF = (DOMAIN / "brief.md").read_text(encoding="utf-8")
TOML = tomllib.loads((DOMAIN / "domain.toml").read_text(encoding="utf-8"))
NO_METRICS = {
    *("compute_advantages", "policy_loss", "group_ids", "old_logp", "ref_logp", "total_steps", "group_size"),
    *("on_policy", "verify_bed", "verify_gpu", "candidate_error"),
}
"""Names with an underscore in the brief that are functions, arguments, regimes, stages or outcomes."""


@pytest.fixture(scope="module")
def domain():
    """Its modules by name."""
    names = ("bed.tasks", "bed.model", "boundary.batch", "boundary.metrics", "training.loop", "training.regimes")
    return {name.partition(".")[2]: module for name, module in zip(names, imported(*names), strict=True)}


def rows(heading):
    """The cells of the table whose first line begins with this."""
    lines = BRIEF[BRIEF.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_metric_that_is_named_is_reported():
    named = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)+)`", BRIEF)) - NO_METRICS
    assert {"gain_low", "pass_at_1_stress", "clip_fraction", "length_drift"} <= named
    assert named <= set(TOML["metrics"])
    known = set(
        re.findall(
            r"\b(?:(?:pass_at_1|worst|clip|length)_[a-z_0-9]+|gain_(?:low|high))",
            (DOMAIN / "cognition.yaml").read_text(),
        )
    )
    assert "pass_at_1_flipped" in known
    assert known - {"clip_fraction", "length_drift"} <= set(TOML["metrics"])


def test_a_batch_holds_what_the_table_says(domain):
    named = [name for row in rows("| of `batch`") for name in re.findall(r"`([a-z_]+)`", row[0])]
    assert named == list(domain["batch"].Batch._fields)
    regimes = domain["regimes"]
    assert f"{regimes.PROMPTS} prompts x {regimes.SAMPLES} samples" in BRIEF
    assert f"B = {regimes.PROMPTS * regimes.SAMPLES} and T = {domain['tasks'].ANSWER_LIMIT};" in BRIEF


def test_regimes_are_those_of_the_trainer(domain):
    told = {row[0].strip("`"): row[1:] for row in rows("| regime |")}
    assert list(told) == list(domain["regimes"].KNOWN) == TOML["instances"]["default"]["regimes"].split()
    explore = next(stage for stage in TOML["stages"] if stage["name"] == "explore")
    sizes, calls = [], 0
    for name, (updates, rate, steps, rewards) in told.items():
        regime = domain["regimes"].regime(name, explore["parameters"])
        assert int(updates.split()[0]) == regime.epochs * regime.minibatches
        assert float(rate) == regime.learning_rate
        assert int(steps) == regime.steps
        assert rewards == "true" if regime.flipped == 0 else f"{regime.flipped:.0%}".replace("%", " %") in rewards
        sizes.append(regime.prompts * regime.samples // regime.minibatches)
        calls += explore["parameters"]["seeds_per_run"] * regime.steps * (1 + regime.epochs * regime.minibatches)
    assert f"{max(sizes)} or {min(sizes)} rows" in BRIEF
    assert f"{round(calls, -2):,} calls" in BRIEF


def test_bounds_are_those_of_the_code(domain):
    metrics = domain["metrics"]
    assert f"(at most {metrics.MAX_METRICS} numbers, names of at most {metrics.MAX_NAME} letters" in BRIEF
    assert f"norm of d loss / d logp to {domain['loop'].GRADIENT_NORM:g}," in BRIEF
    remote = (DOMAIN / "boundary" / "remote.py").read_text()
    seconds = float(re.search(r"^CALL_SECONDS = ([0-9.]+)", remote, re.MULTILINE)[1])
    assert f"a call of more than {seconds:g} seconds" in BRIEF
    assert all(f"`{name}`" in BRIEF for name in TOML["candidate"]["forbidden_imports"])
    stop, real = [rule for rule in TOML["stop"] if rule["rule"] == "below"]
    assert f"more than {-stop['value']:g} below the warm start at a third of the steps" in BRIEF
    assert f"({-real['value']:g} on a real model)" in BRIEF
    assert real["stages"] == ["verify", "verify_gpu"]


def test_stages_have_the_budgets_that_are_told():
    told = {row[0].strip("`"): [int(number) for number in re.findall(r"\d+", row[2])] for row in rows("| stage |")}
    stages = {stage["name"]: stage for stage in TOML["stages"]}
    assert told.keys() <= stages.keys()
    for name, numbers in told.items():
        assert numbers[:2] == [stages[name]["cpu_seconds"], stages[name]["candidate_cpu_seconds"]], name
        assert stages[name]["memory_mb"] == stages[name]["candidate_memory_mb"] == 1024


def test_the_model_has_the_size_that_is_told(domain):
    assert f"{sum(part.numel() for part in domain['model'].Decoder().parameters()):,} parameters" in BRIEF
