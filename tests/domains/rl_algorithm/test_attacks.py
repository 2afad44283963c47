"""Candidates that reach for the trainer, lie, hang or exhaust what they have: each a file that says what must come of
it. What decides is what the trainer leaves, not what an attack prints."""

import json
import os

import pytest
from asi_evolve.evolution.outcomes import Outcome

from ...sandbox.conftest import interpreter, isolation, tier, working_tiers  # noqa: F401  -- fixtures
from .attack_lab import HERE, AttackRange, expectation, leaks, left_by_trainer, shortened_domain

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

ATTACKS = sorted((HERE / "attacks").glob("*.py"))
CHANGED = {
    "hang_at_call_40": {"call_seconds": 2.0},
    "slow_calls": {"candidate_seconds": 2.0},
    "busy_calls": {"bounds": {"candidate_cpu_seconds": 6}},
}
"""Shorter patience, so that the tests need less."""


@pytest.fixture(scope="module")
def shooting_range(tmp_path_factory, isolation, interpreter):  # noqa: F811
    root = tmp_path_factory.mktemp("attacks")
    (root / "jobs").mkdir()
    return AttackRange(root / "jobs", shortened_domain(root / "domain"), isolation, interpreter)


@pytest.fixture(scope="module")
def honest(shooting_range):
    """What the trainer leaves of GRPO."""
    end, said, job = shooting_range.run()
    assert end.outcome is Outcome.SCORED, (end.reason, said)
    return left_by_trainer(job)


def check_calls(shooting_range, said, job):
    """Of 9 steps, each with an evaluation behind it: one call for advantages, four for losses, nothing between."""
    seen = [tuple(json.loads(line)[:2]) for line in said.splitlines()]
    assert seen == [(kind, step) for step in range(9) for kind in ("advantages", *["loss"] * 4)]
    left = left_by_trainer(job)
    assert left["candidate_calls"] == 1 + len(seen)  # and the one that begins the run
    assert [step for step, _ in left["runs"][0]["curve"]] == list(range(10))


def check_that_size_does_not_count(shooting_range, said, job):
    """2**60 and 2**100 times the loss come to the same, to the bit."""
    attack = (HERE / "attacks" / "huge_gradient.py").read_text()
    end, _, other = shooting_range.run(attack.replace("2.0**100", "2.0**60"))
    assert end.outcome is Outcome.SCORED
    assert left_by_trainer(other) == left_by_trainer(job)


def check_that_it_harms_its_own_run_alone(shooting_range, said, job):
    (run,) = left_by_trainer(job)["runs"]
    assert run["pass_at_1"] <= run["warm"]["pass_at_1"]


MORE = {
    "counts_calls": check_calls,
    "huge_gradient": check_that_size_does_not_count,
    "largest_gradient": check_that_it_harms_its_own_run_alone,
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda path: path.stem)
def test_an_attack_comes_to_what_it_says(attack, shooting_range, honest):
    end, said, job = shooting_range.run(attack.read_text(), **CHANGED.get(attack.stem, {}))
    kind, words = expectation(attack)
    told = (end.outcome, end.reason, said[-2000:], job.stderr.read_text()[-2000:])
    assert leaks(said) == [], told
    match kind:
        case "honest":
            assert end.outcome is Outcome.SCORED, told
            assert left_by_trainer(job) == honest
        case "scored":
            assert end.outcome is Outcome.SCORED, told
        case "candidate_error":
            assert end.outcome is Outcome.CANDIDATE_ERROR, told
            assert words in end.reason, told
            assert end.metrics == {}
        case "limit":
            assert (end.outcome, end.limit and end.limit.name) == (Outcome.LIMIT, words), told
            assert end.metrics == {}
        case _:
            raise AssertionError(f"Expected a known kind, but got {kind!r}.")
    if attack.stem in MORE:
        MORE[attack.stem](shooting_range, said, job)
    assert not list(job.out.rglob("rl_attack_marker"))
    assert not [place for place in ("/dev/shm", "/tmp", "/var/tmp") if os.path.exists(place + "/rl_attack_marker")]


def test_what_a_trainer_draws_comes_from_a_key_that_no_candidate_has(shooting_range):
    """In two workspaces a candidate is told the same of its run, byte for byte, and meets other samples; so nothing of
    that can tell it which prompts come or which rewards are flipped."""
    look = """
    import os
    def compute_advantages(batch):
        if batch.step == 0:
            print(open(os.environ["JOB"] + "/params.json").read().split())
            print(batch.rewards.tolist(), batch.lengths.tolist(), flush=True)
        return batch.rewards
    """
    told, met = [], []
    for key in (bytes(32), bytes(32), b"1" * 32):
        end, said, _ = shooting_range.run(look, key=key, regimes="flipped", flipped_steps=1)
        assert end.outcome is Outcome.SCORED, (end.reason, said)
        told.append(said.splitlines()[0])
        met.append(said.splitlines()[1])
    assert told[0] == told[1] == told[2]
    assert met[0] == met[1] != met[2]
