"""What check-domain makes of how a case ended."""

from pathlib import Path

import pytest
from asi_evolve.domains.fuzzing import Expectation, Nudge
from asi_evolve.domains.loader import load_domain
from asi_evolve.domains.own_cases import CaseSettings, OwnCase
from asi_evolve.evolution.outcomes import Outcome, ResourceUsage
from asi_evolve.sandbox.jobs import JobExit
from asi_evolve.sandbox.verdicts import (
    Honest,
    baseline_lines,
    judge_lines,
    own_case_line,
    repeat_line,
    series_line,
    size_of,
    verdict,
)

from ..domains.test_own_cases import NUMBER

RIVAL = Path(__file__).parent.parent / "domain_folders" / "rival"
SPEC = load_domain(NUMBER).spec
HONEST = Honest({"value": 1.0}, (1.0, 1.0), 1.0)


def ended(outcome, reason="", **metrics):
    return JobExit("t", outcome, reason, metrics, None, ResourceUsage(), {}, (), 0.0, 1.0)


def scored(value, **more):
    return ended(Outcome.SCORED, value=value, **more)


REFUSED = ended(Outcome.INVALID_OUTPUT, "Expected a number.")


def state(expectation, end, honest=HONEST):
    return verdict(SPEC, "case", expectation, end, honest).state


@pytest.mark.parametrize("expectation", Expectation)
def test_a_refusal_is_always_right_and_a_failing_evaluator_always_wrong(expectation):
    assert state(expectation, REFUSED) == "ok"
    for outcome in (Outcome.INFRASTRUCTURE_ERROR, Outcome.LOST):
        line = verdict(SPEC, "case", expectation, ended(outcome, "It left with exit status 1."), HONEST)
        assert line.state == "failed"
        assert "exit status 1" in line.text
    assert state(expectation, ended(Outcome.SCORED, other=1.0)) == "failed"  # not the metric of the fitness


@pytest.mark.parametrize(
    ("expectation", "lower", "higher"),
    [
        (Expectation.REFUSED, "failed", "failed"),
        (Expectation.NO_GAIN, "ok", "failed"),
        (Expectation.PLAUSIBLE, "ok", "warning"),
    ],
)
def test_what_a_score_means_depends_on_what_was_malformed(expectation, lower, higher):
    assert [state(expectation, scored(value)) for value in (0.5, 1.0, 1.5)] == [lower, lower, higher]


def test_where_honest_runs_differ_a_gain_is_one_beyond_their_spread():
    noisy = Honest({"value": 1.0}, (1.0, 1.5), 1.0)
    assert state(Expectation.NO_GAIN, scored(2.0), noisy) == "ok"
    assert state(Expectation.NO_GAIN, scored(2.1), noisy) == "failed"


def test_a_metric_that_only_garbage_brings_up_is_made_up_by_the_candidate():
    assert state(Expectation.PLAUSIBLE, scored(0.5, mine=1.0)) == "failed"
    assert state(Expectation.PLAUSIBLE, scored(0.5, extra=1.0), Honest({"value": 1, "extra": 1}, (1.0,), 1.0)) == "ok"


def series(*ends):
    steps = [(Nudge("s", amount), end) for amount, end in zip((1e-9, 1e-7, 1e-5), ends, strict=True)]
    return series_line(SPEC, "s", steps[::-1], HONEST)


def test_gains_that_end_in_a_refusal_look_like_a_tolerance():
    line = series(scored(1 + 1e-9), scored(1 + 1e-7), REFUSED)
    assert line.state == "warning"
    assert "1e-07 at +1e-07" in line.text
    assert series(scored(1.1), scored(1.2), scored(1.3)).state == "ok"
    assert series(scored(1.0), scored(1.0), REFUSED).state == "ok"
    assert series(scored(1 + 1e-12), REFUSED, REFUSED).state == "ok"  # rounding
    assert series(REFUSED, REFUSED, ended(Outcome.INFRASTRUCTURE_ERROR)).state == "failed"


def test_beside_a_gain_over_the_baseline_rounding_is_measured_by_the_metric():
    """Such a score is 0 for the baseline, and any rounding would be a gain beside that."""
    spec = gaining()
    honest = Honest({"loss": 4.0}, (0.0,), size_of(spec, "explore", 0.0, {"loss": 4.0}))
    assert honest.size == 4.0
    for gain, state in ((1e-12, "ok"), (1e-6, "warning")):
        steps = [(Nudge("s", 1e-9), ended(Outcome.SCORED, score=gain)), (Nudge("s", 1e-5), REFUSED)]
        assert series_line(spec, "s", steps, honest).state == state
    assert size_of(spec, "check", -0.5, {"loss": 4.0}) == 0.5, "nothing is relative there"
    assert size_of(load_domain(RIVAL).spec, "explore", 0.5, {"loss": 4.0}) == 0.5


def gaining():
    """The rival domain with gains for a score."""
    spec = load_domain(RIVAL).spec
    relative = spec.fitness.relative.model_copy(update={"form": "gain"})
    return spec.model_copy(update={"fitness": spec.fitness.model_copy(update={"relative": relative})})


def test_a_baseline_is_scored_and_reports_what_is_declared():
    assert [line.state for line in baseline_lines(SPEC, scored(1.0))] == ["ok", "ok"]
    (line,) = baseline_lines(SPEC, ended(Outcome.CANDIDATE_ERROR, "It left with exit status 1: no such ring"))
    assert (line.state, "no such ring" in line.text) == ("failed", True)
    (line,) = baseline_lines(SPEC, ended(Outcome.SCORED, other=1.0))
    assert (line.state, "value" in line.text) == ("failed", True)
    lines = baseline_lines(SPEC, scored(1.0, other=1.0))
    assert [(line.state, "other" in line.text) for line in lines] == [("ok", False), ("warning", True)]


def test_a_score_that_does_not_come_again_is_told_with_both_values():
    assert repeat_line("again", 1.0, 1.0, scored(1.0)).state == "ok"
    line = repeat_line("again", 1.0, 1.25, scored(1.25))
    assert (line.state, "1.25" in line.text) == ("warning", True)
    assert repeat_line("again", 1.0, None, REFUSED).state == "failed"


@pytest.mark.parametrize(
    ("must_be_scored", "settings", "end", "expected"),
    [
        (True, {}, scored(3.0), "ok"),
        (True, {"score": 3.0}, scored(3.0 + 1e-12), "ok"),
        (True, {"score": 3.0}, scored(3.0 + 1e-6), "failed"),
        (True, {}, REFUSED, "failed"),
        (False, {}, REFUSED, "ok"),
        (False, {"reason": "a number"}, REFUSED, "ok"),
        (False, {"reason": "overlap"}, REFUSED, "failed"),
        (False, {}, scored(3.0), "failed"),
        (False, {}, ended(Outcome.CANDIDATE_ERROR), "failed"),  # the case itself is broken
    ],
)
def test_a_case_of_the_domain_holds_to_the_letter(must_be_scored, settings, end, expected):
    case = OwnCase("a", must_be_scored, CaseSettings(**settings), {}, None)
    assert own_case_line(SPEC, case, end).state == expected


def rubric(**change):
    essay = load_domain(Path(__file__).parent.parent / "domain_folders" / "essay").spec
    return essay.model_copy(update={"judge": essay.judge.model_copy(update=change)})


@pytest.mark.parametrize(
    ("change", "baseline", "bound", "state"),
    [
        ({}, 4.0, None, "warning"),  # marks move 10, the metric counts 3
        ({}, 20.0, None, "ok"),
        ({}, -20.0, None, "ok"),
        ({}, 20.0, 25.0, "warning"),  # only 5 are left to gain
        ({}, 20.0, 40.0, "ok"),
        ({"weight": 0.0}, 4.0, None, "ok"),
        ({"weight": 1.0}, 1e9, None, "warning"),
        ({"maps_to": (0.0, 1.0)}, 4.0, None, "ok"),
    ],
)
def test_a_rubric_that_can_outweigh_the_metric_is_warned_of(change, baseline, bound, state):
    (line,) = judge_lines(rubric(**change), baseline, abs(baseline), bound)
    assert (line.case, line.state) == ("judge", state)
    assert ("lower judge.weight" in line.text) == (state == "warning")


def test_a_domain_without_a_rubric_is_told_nothing_of_judges():
    assert judge_lines(rubric().model_copy(update={"judge": None}), 4.0, 4.0, None) == []
