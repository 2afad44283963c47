"""Effects of design choices: a planted one is found, chance is rarely taken for one, and few data claim nothing."""

import random

import pytest
from asi_evolve.evolution.evidence.effects import MOST_TAGS, Step, effects, failures
from hypothesis import assume, given, settings
from hypothesis import strategies as st


def campaign(seed, steps, tags, share=0.3, planted=0.0):
    """Steps with normal gains; tag `t0` adds to them."""
    rng = random.Random(seed)
    found = []
    for _ in range(steps):
        has = frozenset(f"t{place}" for place in range(tags) if rng.random() < share)
        found.append(Step(has, rng.gauss(planted * ("t0" in has), 1), failed=False))
    return found


def test_a_planted_effect_is_found_and_comes_first():
    found = [effects(campaign(seed, steps=40, tags=6, planted=2.0), seed=0)[0] for seed in range(20)]
    told = [(entry.tag, entry.verdict) for entry in found]
    assert told.count(("t0", "helped")) >= 18
    assert 1.5 < sum(entry.effect for entry in found if entry.tag == "t0") / len(found) < 2.1, "shrunk, but not by much"


def test_a_planted_harm_is_found_and_comes_last():
    last = effects(campaign(3, steps=60, tags=6, planted=-2.0), seed=0)[-1]
    assert (last.tag, last.verdict) == ("t0", "hurt")
    assert last.mean_gain < -1


@pytest.mark.parametrize(("steps", "tags", "share"), [(12, 5, 0.4), (30, 8, 0.3), (60, 10, 0.1)])
def test_where_nothing_has_an_effect_one_is_claimed_for_about_one_tag_in_twenty_at_most(steps, tags, share):
    told = [entry for seed in range(80) for entry in effects(campaign(seed, steps, tags, share), seed=0)]
    claimed = sum(entry.verdict != "not told apart" for entry in told)
    assert len(told) > 200
    assert claimed / len(told) <= 0.07


def test_a_tag_that_always_comes_with_the_cause_shares_its_effect():
    planted = campaign(1, steps=40, tags=4, planted=2.0)
    steps = [Step(step.tags | ({"twin"} if "t0" in step.tags else set()), step.gain, False) for step in planted]
    by_tag = {entry.tag: entry.effect for entry in effects(steps, seed=0)}
    assert by_tag["twin"] == pytest.approx(by_tag["t0"])


def test_below_ten_gains_nothing_is_claimed():
    planted = campaign(0, steps=9, tags=2, share=0.5, planted=50)
    assert effects(planted, seed=0) == []
    failed = Step(frozenset({"t0"}), None, failed=True)
    assert effects([*planted, failed], seed=0) == [], "a failure has no gain"
    assert failures(planted) == []
    assert failures([*planted, failed]) != []


def test_a_tag_is_told_only_with_three_children_that_have_it_and_three_that_lack_it():
    gains = [float(place % 5) for place in range(12)]
    steps = [
        Step(frozenset({"all"} | ({"two"} if place < 2 else set()) | ({"three"} if place < 3 else set())), gain, False)
        for place, gain in enumerate(gains)
    ]
    (told,) = effects(steps, seed=0)
    assert (told.tag, told.children) == ("three", 3)
    assert told.mean_gain == pytest.approx(1.0)


def test_the_most_frequent_tags_are_told_where_there_are_very_many():
    steps = campaign(0, steps=60, tags=MOST_TAGS + 20, share=0.3)
    told = effects(steps, seed=0)
    counts = sorted((sum(f"t{place}" in step.tags for step in steps) for place in range(MOST_TAGS + 20)), reverse=True)
    assert sorted((entry.children for entry in told), reverse=True) == counts[:MOST_TAGS]


@pytest.mark.parametrize("gain", [0.0, 0.1, -1e308])
def test_gains_that_are_all_the_same_tell_nothing(gain):
    assert effects([Step(frozenset({"a"} if place % 2 else ()), gain, False) for place in range(20)], seed=0) == []


def test_gains_too_large_to_add_up_tell_nothing():
    steps = [Step(frozenset({"a"} if place % 2 else ()), 1.7e308 * (-1) ** (place // 2), False) for place in range(20)]
    assert effects(steps, seed=0) == []


steps_of_any_kind = st.lists(
    st.builds(
        Step,
        tags=st.frozensets(st.sampled_from("abcde")),
        gain=st.none() | st.floats(-1e6, 1e6),
        failed=st.booleans(),
    ),
    min_size=8,
    max_size=25,
)


@settings(max_examples=40)
@given(steps_of_any_kind, st.randoms(), st.integers(0, 2**31 - 1))
def test_the_order_of_the_steps_changes_nothing(steps, rng, seed):
    shuffled = steps[:]
    rng.shuffle(shuffled)
    assert effects(shuffled, seed) == effects(steps, seed)
    assert failures(shuffled) == failures(steps)


@settings(max_examples=40)
@given(steps_of_any_kind, st.floats(0.1, 1000), st.floats(-100, 100))
def test_effects_are_in_the_unit_of_the_score_and_do_not_depend_on_its_zero(steps, unit, offset):
    moved = [Step(step.tags, None if step.gain is None else unit * step.gain + offset, step.failed) for step in steps]
    before, after = ({entry.tag: entry for entry in effects(given_, 0)} for given_ in (steps, moved))
    assume(before.keys() == after.keys())  # else the gains are too small beside the offset to vary
    size = max((abs(step.gain) for step in steps if step.gain is not None), default=0.0)
    for tag, entry in before.items():
        room = 1e-6 * (unit * size + abs(offset))
        assert after[tag].effect == pytest.approx(unit * entry.effect, rel=1e-4, abs=room)


def test_failures_are_counted_for_each_tag_with_an_interval_of_wilson():
    steps = [Step(frozenset({"bold"}), None, failed=place < 4) for place in range(5)]
    steps += [Step(frozenset({"safe"}), 1.0, failed=False) for _ in range(8)] + [Step(frozenset({"rare"}), 1.0, False)]
    bold, safe = failures(steps)
    assert (bold.tag, bold.failed, bold.children) == ("bold", 4, 5)
    assert tuple(bold.interval) == pytest.approx((0.3755, 0.9638), abs=1e-4)
    assert (safe.tag, safe.failed, safe.interval.low) == ("safe", 0, 0.0)
    assert safe.interval.high == pytest.approx(0.3244, abs=1e-4)
