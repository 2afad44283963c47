"""From a candidate to a verdict: the fit, the predict and the evaluator as the Engineer starts them, on a few rows."""

import ast
import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("einops")

spec = importlib.util.spec_from_file_location("linear_attention_scripts", Path(__file__).parent / "scripts.py")
scripts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scripts)
Job, BASELINE, FOLDER, HERE = scripts.Job, scripts.BASELINE, scripts.FOLDER, scripts.HERE

pytestmark = pytest.mark.slow

MIXER = """
import torch
from torch import nn

class DeltaNet(nn.Module):
    def __init__(self, hidden_size, num_heads, layer_idx=None, **kwargs):
        super().__init__()
        self.project = nn.Linear(hidden_size, hidden_size)
        self.calls = 0

    def forward(self, hidden_states, **kwargs):
        BODY
        return self.project(x), None, None
"""
MEAN = "x = hidden_states.cumsum(1) / torch.arange(1, hidden_states.shape[1] + 1)[:, None]"


def mixer(body):
    return MIXER.replace("BODY", body.replace("\n", "\n        "))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """The baseline, run through with its control."""
    job = Job(tmp_path_factory.mktemp("baseline") / "job", BASELINE, is_baseline=True)
    job.generate()
    stderr, status = job.fit()
    assert status == 0, stderr
    job.told_report, job.told_progress = job.report, job.progress
    job.answer = job.judge()
    return job


def test_the_baseline_is_scored_on_every_task(baseline):
    metrics = baseline.answer["metrics"]
    assert 0 < metrics["recall_loss"] < 4 and 0 < metrics["lm_bpb"] < 9
    assert metrics["parameter_ratio"] == 1.0 and 0.5 < metrics["cost_exponent"] < 1.3
    assert metrics["twin_gap"] < 1e-4 and "score" not in metrics


def test_claims_of_an_honest_run_are_those_of_the_audit(baseline):
    assert abs(baseline.answer["metrics"]["audit_gap"]) < 0.3


def test_progress_names_each_task_and_goes_through_all_steps(baseline):
    lines = baseline.told_progress
    assert {name for line in lines for name in line} == {
        "step",
        "of",
        "recall.loss",
        "recall.control",
        "recall.quarter",
        "recall.quarter_control",
        "lm.loss",
        "lm.control",
        "lm.quarter",
        "lm.quarter_control",
    }
    assert [line["step"] for line in lines] == list(range(1, 15)) and {line["of"] for line in lines} == {14}
    assert all("recall.control" in line for line in lines[:8])


def test_the_quarter_of_each_task_is_told_from_there_on_and_never_before(baseline):
    lines = {line["step"]: line for line in baseline.told_progress}
    # 8 steps of recall, 6 of lm: their quarters are over at steps 2 and 8 + 2.
    assert [step for step, line in lines.items() if "recall.quarter" in line] == list(range(2, 9))
    assert [step for step, line in lines.items() if "lm.quarter" in line] == list(range(10, 15))
    assert all(lines[step]["recall.quarter"] == lines[2]["recall.loss"] for step in range(2, 9))
    assert lines[10]["lm.quarter_control"] == pytest.approx((lines[10]["lm.control"]), rel=1e-9)


def test_a_rule_on_the_quarter_is_judged_in_every_order_of_tasks(baseline):
    from asi_evolve.domains.loader import load_domain
    from asi_evolve.evolution.early_stop import Judge
    from asi_evolve.evolution.progress import Point, Progress
    from asi_evolve.sandbox.references import reference

    told = [
        Point(0.0, line["step"], line["step"] / line["of"], {n: v for n, v in line.items() if n not in ("step", "of")})
        for line in baseline.told_progress
    ]
    rule = next(rule for rule in load_domain(FOLDER).spec.stop if rule.metric == "lm.quarter")
    known = reference(rule, [Progress(tuple(told))])
    assert known is not None and known.mean == told[9].values["lm.quarter"]
    judge = Judge([dataclasses.replace(rule.resolved(), reference=known)])
    assert all(judge.see(point) is None for point in told) and not judge.notes()
    worse = max(known.mean, known.control) + 1.0
    judge = Judge([dataclasses.replace(rule.resolved(), reference=known)])
    assert judge.see(told[8]) is None
    stop = judge.see(dataclasses.replace(told[9], values={"lm.loss": 1.0, "lm.quarter": worse}))
    assert stop is not None and "lm.quarter" in stop.reason


def test_a_second_run_with_the_same_seed_comes_to_the_same(baseline, tmp_path):
    again = Job(tmp_path / "job", BASELINE).run()["metrics"]
    for name, value in again.items():
        if name.endswith(("_loss", "_accuracy", "_30", "_60", "_100")):
            assert value == pytest.approx(baseline.answer["metrics"][name], abs=5e-5), name


def test_only_the_baseline_trains_a_control(baseline, tmp_path):
    job = Job(tmp_path / "job", mixer(MEAN), tasks="recall")
    job.generate()
    assert job.fit()[1] == 0
    assert not any("recall.control" in line for line in job.progress)


def test_what_is_refused_costs_no_training_and_the_predict_imports_no_torch(tmp_path, monkeypatch):
    # With every later token in it.
    job = Job(tmp_path / "job", mixer("x = hidden_states.flip(1).cumsum(1).flip(1)"))
    job.generate()
    stderr, status = job.fit()
    assert status == 0, stderr
    assert not (job.path / "out" / "progress.jsonl").exists() and not list((job.path / "checkpoint").iterdir())
    # A torch that cannot be imported stands in the way of whoever tries.
    (tmp_path / "torch.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = job.judge()
    assert answer["invalid"].startswith("causality: ")


def test_softmax_attention_is_refused_with_its_exponent(tmp_path):
    job = Job(tmp_path / "job", HERE / "references" / "softmax.py", tasks="")
    answer = job.run()
    assert answer["invalid"].startswith("cost: ")
    cost = next(
        finding
        for finding in json.loads((job.path / "outputs" / "report.json").read_text())["findings"]
        if finding["check"] == "cost"
    )
    assert cost["verdict"] == "refused" and cost["value"] == pytest.approx(2.0, abs=0.2) and cost["limit"] == 1.3


def test_without_a_mixer_the_memory_is_dead(tmp_path):
    assert Job(tmp_path / "job", HERE / "references" / "no_mixer.py", tasks="").run()["invalid"].startswith("memory: ")


def test_a_stage_without_tasks_scores_zero(tmp_path):
    metrics = Job(tmp_path / "job", BASELINE, tasks="").run()["metrics"]
    assert metrics["score"] == 0.0 and "recall_loss" not in metrics


def test_a_loss_that_is_not_finite_is_named_with_its_step(tmp_path):
    body = f"{MEAN}\nself.calls += self.training\nx = x * (float('nan') if self.calls > 6 and len(x) == 8 else 1.0)"
    job = Job(tmp_path / "job", mixer(body), tasks="recall")
    job.generate()
    stderr, status = job.fit()
    assert status == 0, stderr
    assert job.progress[-1]["recall.loss"] != job.progress[-1]["recall.loss"]
    assert job.progress[-1]["step"] == 7
    assert job.judge()["invalid"] == "training: Expected a finite loss, but got nan at step 7 of 8 of the task recall."


def test_what_a_candidate_raises_in_training_is_its_own_error(tmp_path):
    body = f"{MEAN}\nself.calls += self.training\nif self.calls > 6 and len(x) == 8: raise KeyError('a slot is gone')"
    job = Job(tmp_path / "job", mixer(body), tasks="recall")
    job.generate()
    stderr, status = job.fit()
    assert status == 1 and stderr.strip().splitlines()[-1] == "KeyError: 'a slot is gone'"


def test_without_a_class_the_fit_says_so(tmp_path):
    job = Job(tmp_path / "job", "import torch\nclass Attention(torch.nn.Module): pass\n")
    assert "Add `mixer = Attention`" in job.run()["invalid"]


def test_a_candidate_that_leaves_while_it_is_imported_has_failed(tmp_path):
    job = Job(tmp_path / "job", "import sys\nsys.exit(0)\n")
    stderr, status = job.fit()
    assert status == 1 and "it left by sys.exit(0)" in stderr


def test_a_step_counter_goes_with_the_model_into_the_predict(tmp_path):
    # Blends by its own count of training steps: rebuilt without it, the answers would be others than claimed.
    body = f"{MEAN}\nself.calls += self.training\nx = x if self.calls > 3 else -50.0 * x"
    metrics = Job(tmp_path / "job", mixer(body), tasks="recall", checkpoints="100").run()["metrics"]
    assert abs(metrics["audit_gap"]) < 0.3


def test_a_candidate_that_replaces_a_part_of_the_domain_is_refused(tmp_path):
    patch = "import training.trainer\ntraining.trainer.train = print\n"
    job = Job(tmp_path / "job", patch + mixer(MEAN), tasks="")
    assert job.fit()[1] == 0
    (refused,) = [finding for finding in job.report["findings"] if finding["verdict"] == "refused"]
    assert refused["check"] == "tampering" and "Expected training.trainer.train to be left" in refused["sentence"]


def test_who_replaces_a_part_of_the_predict_leaves_no_predictions(tmp_path):
    patch = "import sys\nif 'predict' in sys.argv[0]:\n    import skeleton.checkpoint as m\n    old = m.answer\n"
    patch += "    m.answer = lambda *a, **k: old(*a, **k)\n"
    job = Job(tmp_path / "job", patch + mixer(MEAN), tasks="recall", steps=2, checkpoints="100")
    job.generate()
    assert job.fit()[1] == 0
    stderr, status = job.start("predict.py")
    assert status == 1 and "Expected skeleton.checkpoint.answer to be left" in stderr
    assert not (job.path / "out" / "predictions.npz").exists()


def test_a_larger_model_than_was_asked_for_is_not_asked(tmp_path):
    job = Job(tmp_path / "job", mixer(MEAN), tasks="recall", steps=2, checkpoints="100")
    job.generate()
    assert job.fit()[1] == 0
    path = job.path / "checkpoint" / "models.json"
    models = json.loads(path.read_text())
    for change, words in (
        ({"mlp_width": 200}, "parameters in the blocks"),
        ({"layers": 4}, "Expected models with layers"),
    ):
        path.write_text(json.dumps({**models, "built": {**models["built"], **change}}))
        stderr, status = job.start("predict.py")
        assert status == 1 and words in stderr
    path.write_text(json.dumps(models))
    assert job.start("predict.py")[1] == 0


@pytest.mark.parametrize("name", ["gated_fusion", "chunked_by_hand", "two_timescales"])
def test_candidates_in_the_style_of_the_literature_run_unedited(tmp_path, name):
    job = Job(tmp_path / "job", HERE / "published" / f"{name}.py", tasks="recall", steps=3, checkpoints="100")
    answer = job.run()
    assert "recall_loss" in answer.get("metrics", {}), answer
    precision = json.loads((job.path / "outputs" / "report.json").read_text())["precision"]
    assert precision == ("bf16" if name == "chunked_by_hand" else "fp32")


def test_every_neighbour_that_a_program_imports_is_laid_beside_it():
    """From the imports of the files themselves: a list in domain.toml that lacks one would fail in the sandbox only."""
    from asi_evolve.domains.loader import load_domain

    domain = load_domain(FOLDER)
    for role in ("generator", "harness", "predict", "evaluator"):
        listed = {Path(name).stem for name in getattr(domain.spec.scripts, f"{role}_files")}
        needed, waiting = set(), [role]
        while waiting:
            script = waiting.pop()
            tree = ast.parse((FOLDER / f"{script}.py").read_text())
            # The predict imports within a function; in neighbours that is for what people call by hand.
            nodes = list(ast.walk(tree)) if script == role else tree.body
            names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
            names |= {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
            found = {name for name in names if (FOLDER / f"{name}.py").is_file()} - needed
            needed |= found
            waiting += found
        assert needed <= listed | {role}, role


@pytest.mark.parametrize("name, refusal", [("forged_report", "audit: "), ("forged_loss_in_training", "tampering: ")])
def test_a_loss_that_is_forged_beside_the_checks_is_refused(tmp_path, name, refusal):
    cheat = Job(tmp_path / "job", HERE / "cheats" / f"{name}.py", tasks="recall", steps=60, checkpoints="100")
    answer = cheat.run()
    assert answer.get("invalid", "").startswith(refusal), answer
