"""Progress where training and judging are apart: the fit tells, or the trainer that the candidate cannot reach."""

import json
from pathlib import Path

import pytest
from asi_evolve.evolution.early_stop import StopRule
from asi_evolve.evolution.outcomes import Outcome

from .shape_lab import DOMAINS
from .test_fit_predict import GOOD
from .test_serve import rule

NAN = StopRule("nan")
EARLY = StopRule("above", "score", "loss", value=5.0)
TELL = """
def tell(step, loss):
    import json, os, time
    with open(os.environ["JOB"] + "/out/progress.jsonl", "a") as stream:
        stream.write(json.dumps({"step": step, "of": 100, "loss": loss}) + "\\n")
"""
WAIT = "\nimport time\ntime.sleep(40)\n"
TRAINER = (DOMAINS / "bandit" / "trainer.py").read_text()
FIT = (DOMAINS / "curve" / "fit.py").read_text()


def trainer(told):
    """The trainer, which tells this before it saves what it has."""
    saving = TRAINER.index("np.savez")
    return {"harness/trainer.py": TELL + TRAINER[:saving] + told + "\n" + TRAINER[saving:]}


def test_a_trainer_tells_how_it_gets_on(shapes):
    end = shapes.run("bandit", scripts=trainer("tell(50, 1.0)\ntell(100, 0.5)"), stop_rules=(NAN,))
    assert end.outcome is Outcome.SCORED, end.reason
    told = shapes.last().read_progress()
    assert [point.values["loss"] for point in told.points] == [1.0, 0.5]


def test_a_trainer_that_diverges_ends_with_the_candidate_beside_it(shapes):
    end = shapes.run("bandit", scripts=trainer(f"tell(3, float('nan')){WAIT}"), stop_rules=(NAN,))
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "Stopped early at 3 % (step 3): loss is not finite.")
    assert end.usage.wall_seconds < 30


def test_a_trainer_that_is_scored_early_is_judged_by_what_it_has_saved(shapes):
    scripts = {"harness/trainer.py": TELL + TRAINER + "tell(40, 6.0)" + WAIT}
    end = shapes.run("bandit", scripts=scripts, stop_rules=(EARLY,))
    assert end.outcome is Outcome.SCORED, end.reason
    assert end.metrics["reward"] > 0.75
    assert end.environment["stopped_early"].startswith("Stopped early at 40 %")
    end = shapes.run("bandit", scripts=trainer(f"tell(40, 6.0){WAIT}"), stop_rules=(EARLY,))
    assert end.outcome is Outcome.REJECTED
    assert "could not be scored: Expected the output rewards.npz" in end.reason


def test_the_candidate_of_a_trainer_cannot_write_to_its_progress(shapes):
    forge = f"{TELL}\ntry:\n    tell(1, float('nan'))\nexcept OSError as error:\n    print(json.dumps(str(error)))"
    end = shapes.run("bandit", rule(top=forge), stop_rules=(NAN,))
    assert end.outcome is Outcome.SCORED, end.reason
    assert "progress.jsonl" in shapes.said()
    told = shapes.last().read_progress()
    assert (told.points, len(told.notes)) == ((), 1)


def fit(told, *, saves=True):
    """The fit, which tells this when it has left its checkpoint and its claim, or neither."""
    text = FIT if saves else "import sys\n"
    return {"harness/fit.py": TELL + text + "\n" + told}


def test_a_fit_tells_how_it_gets_on_and_the_predict_does_not(shapes):
    predict = TELL + "tell(1, float('nan'))\n" + (DOMAINS / "curve" / "predict.py").read_text()
    scripts = fit("tell(100, 0.5)") | {"predict/predict.py": predict}
    end = shapes.run("curve", {"model.py": GOOD}, scripts=scripts, stop_rules=(NAN,))
    assert end.outcome is Outcome.SCORED, end.reason
    assert [point.values for point in shapes.last().read_progress().points] == [{"loss": 0.5}]


def test_a_fit_that_diverges_is_not_followed_by_a_predict(shapes):
    end = shapes.run("curve", {"model.py": GOOD}, scripts=fit(f"tell(3, float('nan')){WAIT}"), stop_rules=(NAN,))
    assert end.outcome is Outcome.REJECTED
    assert not shapes.last().predict_log.exists()


def test_a_fit_that_is_scored_early_hands_its_checkpoint_to_the_predict(shapes):
    end = shapes.run("curve", {"model.py": GOOD}, scripts=fit(f"tell(40, 6.0){WAIT}"), stop_rules=(EARLY,))
    assert end.outcome is Outcome.SCORED, end.reason
    assert 0.05 < end.metrics["error"] < 0.2
    assert "stopped_early" in end.environment


@pytest.mark.parametrize("left", ["nothing", "a torn checkpoint", "a link"])
def test_a_fit_that_has_left_nothing_usable_is_rejected(shapes, left):
    """Missing claim, a predict that cannot read the checkpoint, or a checkpoint that is refused."""
    told = f"tell(40, 6.0){WAIT}"
    if left == "nothing":
        scripts = fit(told, saves=False)
    else:
        spoil = {
            "a torn checkpoint": '(job / "checkpoint" / "model.pickle").write_bytes(b"torn")\n',
            "a link": '(job / "checkpoint" / "other").symlink_to("model.pickle")\n',
        }
        scripts = fit(spoil[left] + told)
    end = shapes.run("curve", {"model.py": GOOD}, scripts=scripts, stop_rules=(EARLY,))
    assert end.outcome is Outcome.REJECTED
    assert end.reason.startswith(
        "Stopped early at 40 % (step 40): loss 6 is above 5. What it had left could not be scored:"
    )


def test_the_kept_series_is_json_without_nan(shapes):
    shapes.run("bandit", scripts=trainer("tell(3, float('nan'))"))
    kept: Path = shapes.last().progress
    assert json.loads(kept.read_text(), parse_constant=pytest.fail)["points"][0]["non_finite"] == ["loss"]
