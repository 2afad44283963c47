"""Shape `fit_predict`: a fit that sees labels, and a fresh process that predicts without them."""

import json
import shutil
from dataclasses import replace
from textwrap import dedent

import pytest
from asi_evolve.evolution.outcomes import Outcome

from .shape_lab import DOMAINS, TREE

GOOD = """
import numpy as np
def fit(x, y):
    return np.polyfit(x, y, 5)
def predict(model, x):
    return np.polyval(model, x)
"""


def model(fit="return 0.0", predict="return 0.0 * x", top=""):
    """A candidate with these bodies."""
    bodies = [dedent(body).strip().replace("\n", "\n    ") for body in (fit, predict)]
    return {
        "model.py": f"{TREE}\nimport json, os, sys, time\nimport numpy as np\n{top}\n"
        f"def fit(x, y):\n    {bodies[0]}\ndef predict(model, x):\n    {bodies[1]}\n"
    }


def test_a_model_is_fitted_then_predicts_what_it_never_saw(shapes):
    end = shapes.run("curve", {"model.py": GOOD})
    assert end.outcome is Outcome.SCORED, end.reason
    assert 0.05 < end.metrics["error"] < 0.2
    assert end.metrics["claimed"] < 0.2
    assert end.artifacts == ("outputs/claim.json", "outputs/predictions.npz")
    worse = shapes.run("curve")
    assert worse.metrics["error"] > end.metrics["error"]


def test_labels_are_reachable_from_neither_program(shapes):
    candidate = model(
        fit="print(json.dumps(tree())); return 0.0",
        predict="print(json.dumps([tree(), json.load(open(os.environ['JOB'] + '/params.json'))])); return 0.0 * x",
    )
    end = shapes.run("curve", candidate)
    assert end.outcome is Outcome.SCORED, end.reason
    # the harness calls predict as well, on the training points
    fit_tree = json.loads(shapes.last().stdout.read_text().splitlines()[0])
    predict_tree, params = shapes.said("predict")
    assert fit_tree == ["candidate/model.py", "harness/fit.py", "params.json", "train/points.npz"]
    assert predict_tree == [
        "candidate/model.py",
        "checkpoint/model.pickle",
        "inputs/points.npz",
        "params.json",
        "predict/predict.py",
    ]
    assert "hidden_seed" not in params


def test_a_name_on_the_host_leads_a_candidate_nowhere(shapes):
    """Both programs know where such a folder would lie; none can open anything there."""
    job = str(shapes.root / "e1-explore-0-1")
    look = f"""
        seen = []
        for part in ("generated/hidden/points.npz", "job.json", "trusted-params.json", "evaluator-params.json",
                     "generator/generator.py",
                     "evaluator/evaluator.py", "train/points.npz", "fit/checkpoint/model.pickle"):
            try: open("{job}/" + part, "rb").read(1)
            except OSError: continue
            seen.append(part)
        print(json.dumps(seen))
        return 0.0 * x
    """
    end = shapes.run("curve", model(predict=look))
    assert end.outcome is Outcome.SCORED, end.reason
    assert shapes.said("stdout") in ([], ["fit/checkpoint/model.pickle"])
    assert shapes.said("predict") == []


def test_the_seed_of_the_labels_differs_from_the_seed_of_the_run_and_can_be_made_again(shapes):
    shapes.lay_down("curve", seed=3)
    first = shapes.spec().hidden_seed
    shapes.lay_down("curve", seed=3)
    assert shapes.spec().hidden_seed == first
    shapes.lay_down("curve", seed=4)
    assert shapes.spec().hidden_seed not in (first, 3, 4)
    shapes.grant = replace(shapes.grant, seed_key=bytes(31) + b"1")
    shapes.lay_down("curve", seed=3)
    assert shapes.spec().hidden_seed != first


def test_the_predict_is_a_fresh_process_with_a_fresh_tmp(shapes):
    top = "FRESH = not os.path.exists(os.environ['TMPDIR'] + '/note')"
    candidate = model(
        fit="open(os.environ['TMPDIR'] + '/note', 'w').write(str(os.getpid())); sys.note = 1; return 0.0",
        predict="""
            print(json.dumps([FRESH, hasattr(sys, 'note'), 'note' in os.listdir(os.environ['TMPDIR'])]))
            return 0.0 * x
        """,
        top=top,
    )
    end = shapes.run("curve", candidate)
    assert end.outcome is Outcome.SCORED, end.reason
    assert shapes.said("predict") == [True, False, False]


def test_what_the_domain_brings_is_shown_to_the_same_programs(shapes, tmp_path):
    """Without a generator: data/train, data/inputs and data/hidden."""
    domain = tmp_path / "curve"
    shutil.copytree(DOMAINS / "curve", domain)
    text = (domain / "domain.toml").read_text()
    (domain / "domain.toml").write_text(text.replace('generator = "generator.py"\n', ""))
    made = shapes.lay_down("curve")
    assert shapes.run("curve").outcome is Outcome.SCORED
    shutil.copytree(shapes.last().generated, domain / "data")
    (domain / "data" / "public").mkdir()
    (domain / "data" / "public" / "names").write_text("a")
    candidate = model(fit="print(json.dumps(tree())); return 0.0", predict="print(json.dumps(tree())); return 0.0 * x")
    end = shapes.run(domain, candidate)
    assert end.outcome is Outcome.SCORED, end.reason
    assert made.path != shapes.last().path
    fit_tree = json.loads(shapes.last().stdout.read_text().splitlines()[0])
    assert {"train/points.npz", "data/names"} < set(fit_tree)
    assert not {"inputs/points.npz", "hidden/points.npz"} & set(fit_tree)
    assert {"inputs/points.npz", "data/names"} < set(shapes.said("predict"))
    assert not {"train/points.npz", "hidden/points.npz"} & set(shapes.said("predict"))


PICKLE_BOMB = """
class Bomb:
    def __reduce__(self):
        return (eval, ("__import__('os').open(__import__('os').environ['JOB'] + '/out/ran', 577) and 0.0",))
"""


def test_a_pickle_in_a_checkpoint_runs_in_the_sandbox_alone(shapes, tmp_path):
    """It marks the place where it is unpickled: nowhere but in the out folder of the predict."""
    end = shapes.run("curve", model(fit="return Bomb()", predict="return np.zeros(len(x))", top=PICKLE_BOMB))
    assert end.outcome is Outcome.SCORED, end.reason
    assert [path.relative_to(shapes.last().path).as_posix() for path in tmp_path.rglob("ran")] == ["out/ran"]


@pytest.mark.parametrize(
    ("trick", "told"),
    [
        ("os.symlink('/etc/hostname', place + '/link')", "link"),
        ("os.symlink('/', place + '/root')", "root"),
        ("open(place + '/large', 'wb').write(bytes(100_001))", "100000 bytes"),
        ("[open(place + name, 'wb').write(bytes(60_000)) for name in ('/a', '/b')]", "100000 bytes"),
        ("open(place + '/sparse', 'wb').truncate(19_000_000)", "100000 bytes"),
        ("[open(f'{place}/{n}', 'w') for n in range(5)]", "4 files"),
        ("os.mkfifo(place + '/pipe')", "plain file"),
        ("open(place + '/a', 'w'); os.link(place + '/a', place + '/b')", "plain file"),
        ("os.makedirs(place + '/d' * 9)", "deep"),
        ("[os.mkdir(f'{place}/d{n}') for n in range(40)]", "few folders"),
        ("open(os.fsencode(place) + b'/\\xff', 'w')", "names"),
        ("open(place + '/\\x1b[2J', 'w')", "names"),
        ("open(place + '/' + 'n' * 201, 'w')", "names"),
    ],
    ids=["link", "link to a folder", "large", "large together", "sparse", "many", "pipe", "second name", "deep",
         "folders", "bytes", "escape", "long"],
)  # fmt: skip
def test_only_plain_files_of_the_declared_size_are_handed_on(shapes, trick, told):
    candidate = model(fit=f"place = os.environ['JOB'] + '/checkpoint'\n{trick}\nreturn 0.0")
    end = shapes.run("curve", candidate)
    assert end.outcome is Outcome.INVALID_OUTPUT, end.reason
    assert told in end.reason
    assert not shapes.last().predict_log.exists()


def test_the_programs_bounds_are_their_own_and_the_reason_says_whose_was_passed(shapes):
    spin = "while True: pass"
    slow = replace(shapes.lay_down("curve").read_spec().limits, cpu_seconds=1.5)
    end = shapes.run("curve", model(fit=spin), limits=slow)
    assert (end.outcome, end.limit.name) == (Outcome.LIMIT, "cpu")
    assert "The fit went over" in end.reason
    only_predict = "if os.path.exists(os.environ['JOB'] + '/inputs'):\n    while True: pass\nreturn 0.0 * x"
    end = shapes.run("curve", model(predict=only_predict), second_limits=slow)
    assert (end.outcome, end.limit.name) == (Outcome.LIMIT, "cpu")
    assert "The predict went over" in end.reason
    assert end.usage.cpu_seconds > end.limit.used  # of both


def test_a_predict_that_crashes_is_the_candidates_error_with_its_own_log(shapes):
    crash = "if os.path.exists(os.environ['JOB'] + '/inputs'): raise KeyError('ring')\nreturn 0.0 * x"
    end = shapes.run("curve", model(predict=crash))
    assert end.outcome is Outcome.CANDIDATE_ERROR
    assert "predict" in end.reason
    assert "KeyError: 'ring'" in end.reason
    assert "ring" in shapes.last().predict_log.read_text()


def test_a_fit_that_leaves_no_declared_output_is_invalid_and_nothing_is_predicted(shapes):
    forget = "import atexit\natexit.register(lambda: os.remove(os.environ['JOB'] + '/out/claim.json'))\nreturn 0.0"
    end = shapes.run("curve", model(fit=forget))
    assert end.outcome is Outcome.INVALID_OUTPUT
    assert "claim.json" in end.reason
    assert not shapes.last().predict_log.exists()


def test_a_generator_that_fails_is_never_the_candidates_fault(shapes):
    end = shapes.run("curve", scripts={"generator/generator.py": "raise RuntimeError('no points today')"})
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "no points today" in end.reason
    assert not shapes.last().stdout.exists()
    limits = replace(shapes.spec().evaluator_limits, wall_seconds=0.5)
    end = shapes.run(
        "curve", scripts={"generator/generator.py": "import time; time.sleep(60)"}, evaluator_limits=limits
    )
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "generator" in end.reason
    assert end.limit is None


def test_outputs_that_lie_there_already_are_judged_with_the_same_labels(shapes):
    """As when a score is verified: generator and evaluator run, no candidate does."""
    first = shapes.run("curve", {"model.py": GOOD})
    outputs = shapes.last().outputs
    job = shapes.lay_down("curve", harness=None)
    for path in outputs.iterdir():
        shutil.copyfile(path, job.out / path.name)
    from asi_evolve.sandbox.processes import start_supervisor

    assert start_supervisor(job).wait(60) == 0
    assert job.read_exit().metrics == first.metrics
    assert not job.stdout.exists()
