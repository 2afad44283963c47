"""A campaign ends at the first bound it reaches, and says which."""

import dataclasses

import pytest
from asi_evolve.evolution.budgets import BudgetUse, reached
from asi_evolve.evolution.models import Budget
from pydantic import ValidationError

UNUSED = BudgetUse(
    experiments=0, rounds=0, cpu_seconds=0.0, gpu_seconds=0.0, wall_seconds=0.0, best_score=None, since_best=0
)
BOUNDS = [
    ("experiments", "experiments", 10),
    ("rounds", "rounds", 7),
    ("cpu_seconds", "cpu_seconds", 60.0),
    ("gpu_seconds", "gpu_seconds", 60.0),
    ("wall_seconds", "wall_seconds", 3600.0),
    ("target_score", "best_score", 2.5),
    ("patience", "since_best", 4),
]


@pytest.mark.parametrize(("bound", "used", "value"), BOUNDS)
def test_each_bound_holds_until_it_is_reached_exactly(bound, used, value):
    budget = Budget(**{bound: value})
    step = 1 if isinstance(value, int) else 0.001
    assert reached(budget, dataclasses.replace(UNUSED, **{used: value - step})) == []
    for amount in (value, value + step):
        (sentence,) = reached(budget, dataclasses.replace(UNUSED, **{used: amount}))
        assert f"{bound}={value:g}" in sentence


@pytest.mark.parametrize(("bound", "used", "value"), BOUNDS[1:])
def test_a_bound_that_is_not_set_never_ends_a_campaign(bound, used, value):
    assert reached(Budget(experiments=1_000_000), dataclasses.replace(UNUSED, **{used: 10**9})) == []


def test_every_bound_that_is_reached_is_named():
    budget = Budget(**{bound: value for bound, _, value in BOUNDS})
    use = BudgetUse(**{used: value for _, used, value in BOUNDS})
    sentences = reached(budget, use)
    assert len(sentences) == len(BOUNDS) == len(Budget.model_fields)
    assert all(f"{bound}=" in " ".join(sentences) for bound, _, _ in BOUNDS)


def test_a_target_is_not_reached_while_nothing_has_scored():
    assert reached(Budget(target_score=-1e9), UNUSED) == []


def test_a_negative_target_counts_upwards():
    budget = Budget(target_score=-0.5)
    assert reached(budget, dataclasses.replace(UNUSED, best_score=-0.6)) == []
    assert reached(budget, dataclasses.replace(UNUSED, best_score=-0.4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"experiments": 0},
        {"rounds": 0},
        {"cpu_seconds": 0},
        {"wall_seconds": float("inf")},
        {"patience": 0},
        {"hours": 1},
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Budget(**wrong)
