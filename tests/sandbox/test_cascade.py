"""What an experiment does next, given the stages of its domain and what it has been through."""

import pytest
from asi_evolve.domains.contract import DomainSpec
from asi_evolve.evolution.errors import DomainError
from asi_evolve.evolution.models import Evaluation, Quarantine
from asi_evolve.evolution.outcomes import LimitHit, Outcome, ResourceUsage
from asi_evolve.sandbox.cascade import End, Step, next_step
from hypothesis import given
from hypothesis import strategies as st

CHECK = {"name": "check", "cpu_seconds": 1}
EXPLORE = {"name": "explore", "cpu_seconds": 10}
VERIFY = {"name": "verify", "cpu_seconds": 10, "on_request": True}


def domain(*stages):
    return DomainSpec.model_validate(
        {
            "domain": {"name": "d", "version": "1", "title": "", "summary": ""},
            "candidate": {"entry": "a.py"},
            "outputs": {},
            "metrics": {"value": {"description": ""}},
            "fitness": {"metric": "value"},
            "stages": stages,
            "default_stage": stages[0]["name"],
        }
    )


THREE = domain(CHECK, EXPLORE, VERIFY)


def ran(stage, seed=0, score=None, outcome=Outcome.SCORED, limit=None, reason=""):
    return Evaluation(
        experiment_id=1,
        stage=stage,
        seed=seed,
        outcome=outcome,
        reason=reason,
        score=score,
        metrics={},
        limit=LimitHit(limit, 2, 1, "s") if limit else None,
        usage=ResourceUsage(),
        environment={},
        started_at=0,
        finished_at=1,
    )


def out_of(limit, stage="check", seed=0):
    return ran(stage, seed, outcome=Outcome.LIMIT, limit=limit, reason=f"Out of {limit}.")


def held_at(stage, score=9.0, seeds=(71, 72)):
    """Held as an outlier of a population with median 1."""
    return Quarantine(
        cause="outlier", reason="Far out", stage=stage, score=score, bound=None, median=1.0, seeds=seeds, former=None
    )


def after(spec, target, *evaluations, seeds=(0,), has_score=False, held=None):
    """(stage, seed) of what runs next, or how it ended."""
    step = next_step(spec, target, seeds, evaluations, has_score, held)
    return (step.stage.name, step.seed) if isinstance(step, Step) else step


def test_the_cheapest_stage_comes_first_with_the_first_seed_alone():
    assert after(THREE, "explore", seeds=(5, 6)) == ("check", 5)
    assert after(THREE, "explore", ran("check", 5, 1.0), seeds=(5, 6)) == ("explore", 5)


def test_the_target_runs_with_every_seed_and_scores_their_mean():
    so_far = [ran("check", 5, 100.0), ran("explore", 5, 1.0)]
    assert after(THREE, "explore", *so_far, seeds=(5, 6)) == ("explore", 6)
    assert after(THREE, "explore", *so_far, ran("explore", 6, 2.0), seeds=(5, 6)) == End(
        Outcome.SCORED, "", "explore", 1.5
    )


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6))
def test_an_experiment_takes_one_step_for_each_seed_and_one_for_each_cheaper_stage(scores):
    seeds, past = range(len(scores)), []
    while isinstance(step := next_step(THREE, "explore", seeds, past, False), Step):
        past.append(ran(step.stage.name, step.seed, scores[step.seed]))
    assert [(run.stage, run.seed) for run in past] == [("check", 0), *(("explore", seed) for seed in seeds)]
    assert step.score == pytest.approx(sum(scores) / len(scores), abs=1e-6)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.SCORED])
def test_a_stage_that_fails_ends_the_experiment_there_without_a_score(outcome):
    failed = ran("check", outcome=outcome, reason="why")
    assert after(THREE, "explore", failed) == End(outcome, "why", "check", None)
    failed = ran("explore", 1, outcome=outcome, reason="why")
    end = after(THREE, "explore", ran("check", 0, 1.0), ran("explore", 0, 3.0), failed, seeds=(0, 1, 2))
    assert end == End(outcome, "why", "explore", None)


def test_a_score_below_the_bar_of_a_stage_is_rejected_with_both_numbers():
    spec = domain(CHECK | {"min_score": 2.0}, EXPLORE)
    end = after(spec, "explore", ran("check", 0, 1.5))
    assert (end.outcome, end.stage, end.score) == (Outcome.REJECTED, "check", None)
    assert "1.5" in end.reason
    assert "2" in end.reason
    assert after(spec, "explore", ran("check", 0, 2.0)) == ("explore", 0)


def test_a_score_at_a_stage_that_may_finish_is_final_and_the_dearer_stages_are_skipped():
    spec = domain(CHECK | {"when_scored": "finish"}, EXPLORE, VERIFY)
    assert after(spec, "explore", ran("check", 0, 2.5)) == End(Outcome.SCORED, "", "check", 2.5)


def test_a_stage_that_may_finish_runs_with_every_seed():
    spec = domain(CHECK | {"when_scored": "finish"}, EXPLORE)
    assert after(spec, "explore", ran("check", 0, 2.0), seeds=(0, 1)) == ("check", 1)
    assert after(spec, "explore", ran("check", 0, 2.0), ran("check", 1, 3.0), seeds=(0, 1)).score == 2.5


def test_a_stage_that_may_finish_does_not_finish_on_the_way_to_one_that_was_asked_for():
    spec = domain(CHECK | {"when_scored": "finish"}, EXPLORE, VERIFY)
    assert after(spec, "verify", ran("check", 0, 2.5), seeds=(0, 1)) == ("explore", 0)


@pytest.mark.parametrize("limit", ["cpu", "wall"])
def test_running_out_of_time_goes_on_to_the_next_stage_where_the_stage_says_so(limit):
    patient = domain(CHECK | {"when_out_of_time": "continue"}, EXPLORE)
    assert after(patient, "explore", out_of(limit)) == ("explore", 0)
    assert after(domain(CHECK, EXPLORE), "explore", out_of(limit)) == End(
        Outcome.LIMIT, f"Out of {limit}.", "check", None
    )


@pytest.mark.parametrize("limit", ["memory", "pids", "disk", "output"])
def test_no_other_limit_goes_on(limit):
    patient = domain(CHECK | {"when_out_of_time": "continue"}, EXPLORE)
    assert after(patient, "explore", out_of(limit)).outcome is Outcome.LIMIT


def test_running_out_of_time_at_the_target_ends_the_experiment():
    patient = domain(CHECK, EXPLORE | {"when_out_of_time": "continue"})
    end = after(patient, "explore", ran("check", 0, 1.0), out_of("cpu", "explore"))
    assert end == End(Outcome.LIMIT, "Out of cpu.", "explore", None)


def test_one_seed_out_of_time_sends_all_of_them_to_the_next_stage():
    spec = domain(CHECK | {"when_scored": "finish", "when_out_of_time": "continue"}, EXPLORE)
    past = [ran("check", 0, 2.0), out_of("cpu", seed=1)]
    assert after(spec, "explore", *past, seeds=(0, 1)) == ("explore", 0)


def test_a_stage_on_request_is_never_on_the_way():
    spec = domain(CHECK, VERIFY, EXPLORE)
    assert after(spec, "explore", ran("check", 0, 1.0)) == ("explore", 0)


def test_a_stage_on_request_starts_at_once_for_a_node_that_has_a_score():
    assert after(THREE, "verify", seeds=(3, 4), has_score=True) == ("verify", 3)
    past = [ran("verify", 3, 1.0), ran("verify", 4, 2.0)]
    assert after(THREE, "verify", *past, seeds=(3, 4), has_score=True) == End(Outcome.SCORED, "", "verify", 1.5)


def test_a_stage_on_request_comes_after_the_cheaper_ones_for_a_node_without_a_score():
    assert after(THREE, "verify", seeds=(3, 4)) == ("check", 3)
    assert after(THREE, "verify", ran("check", 3, 1.0), ran("explore", 3, 1.0), seeds=(3, 4)) == ("verify", 3)


def test_a_usual_stage_repeats_the_cheaper_ones_even_for_a_node_that_has_a_score():
    assert after(THREE, "explore", has_score=True) == ("check", 0)


def test_runs_of_other_seeds_and_other_stages_do_not_count():
    assert after(THREE, "check", ran("check", 7, 1.0), ran("explore", 0, 1.0)) == ("check", 0)


def test_a_held_score_is_repeated_with_the_other_seeds_at_the_stage_that_scored():
    past = [ran("check", 0, 1.0), ran("explore", 0, 9.0)]
    held = held_at("explore")
    assert after(THREE, "explore", *past, held=held) == ("explore", 71)
    assert after(THREE, "explore", *past, ran("explore", 71, 9.0), held=held) == ("explore", 72)


def test_a_released_score_is_the_mean_over_the_first_seeds_and_the_others():
    past = [ran("check", 0, 1.0), ran("explore", 0, 9.0), ran("explore", 71, 8.0), ran("explore", 72, 7.0)]
    end = after(THREE, "explore", *past, held=held_at("explore"))
    assert (end.outcome, end.stage, end.score) == (Outcome.SCORED, "explore", 8.0)
    assert "released" in end.reason


def test_a_score_that_does_not_come_again_is_rejected():
    past = [ran("explore", 0, 9.0), ran("explore", 71, 1.0), ran("explore", 72, 2.0)]
    end = after(THREE, "explore", *past, held=held_at("explore"))
    assert (end.outcome, end.stage, end.score) == (Outcome.REJECTED, "explore", None)
    assert "luck" in end.reason


@pytest.mark.parametrize(
    "outcome", [Outcome.CANDIDATE_ERROR, Outcome.INVALID_OUTPUT, Outcome.LIMIT], ids=lambda outcome: outcome.value
)
def test_a_held_candidate_that_fails_with_another_seed_is_rejected_and_told_how(outcome):
    past = [ran("explore", 0, 9.0), ran("explore", 71, outcome=outcome, reason="It fell over.")]
    end = after(THREE, "explore", *past, held=held_at("explore"))
    assert (end.outcome, end.score) == (Outcome.REJECTED, None)
    assert f"ended as {outcome}: It fell over." in end.reason


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.CANCELLED, Outcome.INFRASTRUCTURE_ERROR])
def test_a_repeat_that_says_nothing_of_the_candidate_neither_releases_nor_rejects(outcome):
    past = [ran("explore", 0, 9.0), ran("explore", 71, 9.0), ran("explore", 72, outcome=outcome, reason="why")]
    assert after(THREE, "explore", *past, held=held_at("explore")) == End(outcome, "why", "explore", None)


def test_a_repeat_that_needs_longer_goes_on_to_the_next_stage_as_the_first_run_would_have():
    patient = domain(CHECK | {"when_scored": "finish", "when_out_of_time": "continue"}, EXPLORE)
    past, held = [ran("check", 0, 9.0), out_of("cpu", seed=71)], held_at("check")
    assert after(patient, "explore", *past, held=held) == ("explore", 71)
    past.append(ran("explore", 71, 8.0))
    assert after(patient, "explore", *past, held=held) == ("check", 72)
    end = after(patient, "explore", *past, ran("check", 72, 7.0), held=held)
    assert (end.outcome, end.stage, end.score) == (Outcome.SCORED, "check", 8.0)


def test_a_stage_that_is_gone_while_a_score_of_it_is_held_is_told():
    with pytest.raises(DomainError, match="check, where a score is held"):
        next_step(domain(EXPLORE), "explore", [0], [ran("check", 0, 9.0)], False, held_at("check"))
