"""Candidates that reach for the trainer, lie, hang or exhaust what they have: each a file that says what must come of
it. What decides is what the trainer leaves, not what an attack prints."""

import json
import os
from pathlib import Path

import pytest
from asi_evolve.evolution.outcomes import Outcome

from ...sandbox.conftest import interpreter, isolation, tier, working_tiers  # noqa: F401  -- fixtures
from .attack_lab import HERE, AttackRange, expectation, leaks, left_by_trainer, tabular_domain

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

ATTACKS = sorted((HERE / "attacks").glob("*.py"))
CHANGED = {
    "hang_at_call_40": {"call_seconds": 2.0},
    "slow_calls": {"seconds_in_all": 2.0},
    "busy_calls": {"bounds": {"candidate_cpu_seconds": 6}},
}
"""Shorter patience, so that the tests need less."""


@pytest.fixture(scope="module")
def shooting_range(tmp_path_factory, isolation, interpreter):  # noqa: F811
    root = tmp_path_factory.mktemp("attacks")
    (root / "jobs").mkdir()
    return AttackRange(root / "jobs", tabular_domain(root / "domain"), isolation, interpreter)


@pytest.fixture(scope="module")
def honest(shooting_range):
    """What the trainer leaves of GRPO."""
    end, said, job = shooting_range.run()
    assert end.outcome is Outcome.SCORED, (end.reason, said)
    return left_by_trainer(job)


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
    assert not list(job.out.rglob("rl_attack_marker"))
    assert not [place for place in ("/dev/shm", "/tmp", "/var/tmp") if os.path.exists(place + "/rl_attack_marker")]
