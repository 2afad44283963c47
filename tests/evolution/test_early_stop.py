"""Rules that end a run early: when they hold, in both directions, and what they say."""

import json
from dataclasses import asdict, replace

import pytest
from asi_evolve.evolution.early_stop import Judge, Reference, Stop, StopRule
from asi_evolve.evolution.progress import Point
from hypothesis import assume, given
from hypothesis import strategies as st

finite = st.floats(-1e6, 1e6)
shares = st.floats(0, 1)
REFERENCE = Reference(2.0, 0.5, 3)


def point(share=None, *, non_finite=(), **values):
    return Point(1.0, None, share, values, tuple(non_finite))


def curve(values):
    """A run that tells its loss at even shares, the last at the end."""
    return [point((place + 1) / len(values), loss=value) for place, value in enumerate(values)]


def judged(rule, points):
    """(place at which the rule held, why), or (None, None)."""
    judge = Judge([rule])
    for place, entry in enumerate(points):
        if (stop := judge.see(entry)) is not None:
            return place, stop
    return None, None


@given(st.lists(st.tuples(finite, st.booleans()), min_size=1))
def test_nan_holds_at_the_first_value_that_is_not_finite_and_never_before(values):
    points = [point(loss=value) if good else point(non_finite=["loss"]) for value, good in values]
    bad = [place for place, (_, good) in enumerate(values) if not good]
    for rule in (StopRule("nan"), StopRule("nan", metric="loss")):
        place, stop = judged(rule, points)
        assert place == (bad[0] if bad else None)
        assert stop is None or "loss is not finite" in stop.reason
    assert judged(StopRule("nan", metric="rate"), points) == (None, None)


@given(finite, finite)
def test_a_bound_itself_is_not_past_it(value, bound):
    above, _ = judged(StopRule("above", metric="loss", value=bound), [point(loss=value)])
    below, _ = judged(StopRule("below", metric="loss", value=bound), [point(loss=value)])
    assert (above == 0) == (value > bound)
    assert (below == 0) == (value < bound)


RULES = st.one_of(
    st.builds(lambda at, value: StopRule("above", metric="loss", at=at, value=value), st.none() | shares, finite),
    st.builds(lambda at, by: StopRule("above_start", metric="loss", at=at, by=by), st.none() | shares, st.floats(0, 9)),
    st.builds(
        lambda at, k, mean, sd: StopRule("above_baseline", metric="loss", at=at, k=k, reference=Reference(mean, sd, 2)),
        shares,
        st.floats(0, 9),
        finite,
        st.floats(0, 9),
    ),
)


def mirrored(rule):
    """The rule that says of minus the metric what this one says of the metric."""
    known = rule.reference
    return replace(
        rule,
        test=rule.test.replace("above", "below"),
        value=-rule.value if rule.value is not None else None,
        reference=replace(known, mean=-known.mean) if known is not None else None,
    )


@given(RULES, st.lists(finite, min_size=1, max_size=30))
def test_below_is_above_upside_down(rule, values):
    assert judged(rule, curve(values))[0] == judged(mirrored(rule), curve([-value for value in values]))[0]


@given(RULES, st.lists(finite, min_size=1, max_size=30))
def test_a_rule_at_a_share_is_judged_once_at_the_first_point_that_has_come_so_far(rule, values):
    assume(rule.at is not None)
    points = curve(values)
    first = next(place for place, entry in enumerate(points) if entry.share >= rule.at)
    place, _ = judged(rule, points)
    assert place in (None, first)
    alone, _ = judged(rule, [points[0], points[first]])
    assert (alone is None) == (place is None), "what comes between and after changes nothing"


@given(RULES, st.lists(finite, min_size=1, max_size=30))
def test_a_rule_without_a_share_is_judged_at_every_point(rule, values):
    assume(rule.at is None)
    place, _ = judged(rule, curve(values))
    bound = rule.value if rule.test == "above" else values[0] + rule.by
    past = [number for number, value in enumerate(values) if value > bound]
    assert place == (past[0] if past else None)


def test_the_baseline_plus_k_deviations_kills_the_broken_and_spares_the_rest():
    rule = StopRule("above_baseline", metric="loss", at=0.25, k=3, reference=REFERENCE)
    assert judged(rule, [point(0.1, loss=99.0), point(0.3, loss=3.4), point(0.6, loss=99.0)]) == (None, None)
    place, stop = judged(rule, [point(0.1, loss=1.0), point(0.25, loss=3.6)])
    assert place == 1
    assert stop == Stop("reject", "Stopped early at 25 %: loss 3.6 is above 3.5 (the baseline's 2 + 3 x 0.5, 3 seeds).")


def test_a_drop_below_the_own_start_is_told_with_both_numbers():
    rule = StopRule("below_start", metric="pass@1", at=1 / 3, by=0.05)
    told = [Point(0, 0.0, 0.0, {"pass@1": 0.115}), Point(9, 24.0, 0.34, {"pass@1": 0.06})]
    assert judged(rule, told)[1].reason == (
        "Stopped early at 34 % (step 24): pass@1 0.06 is below 0.065 (its own start, 0.115, - 0.05)."
    )


def test_a_rule_without_a_reference_never_holds_and_says_so():
    rule = StopRule("above_baseline", metric="loss", at=0.25, k=3)
    judge = Judge([rule])
    assert judge.see(point(0.5, loss=1e9)) is None
    assert judge.notes() == (
        "Early-stop rule above_baseline at 0.25 on loss was not applied: the baseline has told no such value at this "
        "stage.",
    )


@pytest.mark.parametrize(
    ("rule", "points", "why"),
    [
        (StopRule("nan", metric="los"), [point(0.5, loss=1.0)], "no line told it"),
        (StopRule("nan"), [], "no line told it"),
        (StopRule("above", metric="loss", at=0.5, value=1.0), [point(0.4, loss=9.0)], "had come so far"),
        (StopRule("above", metric="loss", at=0.5, value=1.0), [point(None, loss=9.0)], "had come so far"),
        (StopRule("above", metric="rate", value=1.0), [point(0.4, loss=9.0)], "no line told it"),
    ],
)
def test_a_rule_that_was_never_judged_says_why(rule, points, why):
    judge = Judge([rule])
    for entry in points:
        assert judge.see(entry) is None
    (note,) = judge.notes()
    assert why in note


def test_a_rule_that_was_judged_has_nothing_to_say():
    judge = Judge([StopRule("nan"), StopRule("above", metric="loss", at=0.5, value=1.0)])
    judge.see(point(0.6, loss=0.5))
    assert judge.notes() == ()


def test_the_first_rule_that_holds_decides_for_good():
    judge = Judge([StopRule("above", "score", "loss", value=1.0), StopRule("nan")])
    assert judge.see(point(loss=2.0)).outcome == "score"
    assert judge.see(point(non_finite=["loss"])).outcome == "score"


@given(RULES)
def test_a_rule_is_read_back_as_it_was_written(rule):
    assert StopRule.from_fields(json.loads(json.dumps(asdict(rule)))) == rule


CONTROLLED = StopRule("above_baseline", metric="loss", at=0.5, k=2, control="without/loss")


@given(finite, st.floats(0, 1e3), finite, finite)
def test_a_control_spares_whatever_has_not_fallen_behind_it_too(mean, sd, control, value):
    for sign, test in ((1, "above_baseline"), (-1, "below_baseline")):
        rule = replace(CONTROLLED, test=test, reference=Reference(mean, sd, 3, control))
        place, _ = judged(rule, [point(0.5, loss=value)])
        past_both = sign * value > sign * (mean + sign * 2 * sd) and sign * value > sign * control
        assert (place == 0) == past_both


def test_the_reason_names_the_control_where_that_is_the_bound():
    rule = replace(CONTROLLED, reference=Reference(2.0, 0.5, 3, 4.0))
    assert judged(rule, [point(0.5, loss=3.5)]) == (None, None), "past 2 + 2 x 0.5, but not past the control"
    _, stop = judged(rule, [point(0.5, loss=4.5)])
    assert "loss 4.5 is above 4 (the baseline's control, without/loss, 3 seeds)" in stop.reason


def test_without_a_word_of_the_control_the_rule_is_not_applied_and_says_so():
    judge = Judge([replace(CONTROLLED, reference=REFERENCE)])
    assert judge.see(point(0.5, loss=99.0)) is None
    assert judge.notes() == (
        "Early-stop rule above_baseline at 0.5 on loss was not applied: the baseline has told no without/loss at this "
        "stage.",
    )


def test_a_rule_with_a_control_survives_json():
    rule = replace(CONTROLLED, reference=Reference(2.0, 0.5, 3, 4.0))
    assert StopRule.from_fields(json.loads(json.dumps(asdict(rule)))) == rule
