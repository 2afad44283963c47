"""Short ids name one kind of thing each."""

import pytest
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.ids import KIND_NAMES, parse_id, short_id, split_id
from hypothesis import given
from hypothesis import strategies as st

kinds = st.sampled_from(sorted(KIND_NAMES))
numbers = st.integers(min_value=1, max_value=10**18 - 1)


@given(kinds, numbers)
def test_an_id_leads_back_to_its_kind_and_number(kind, number):
    assert split_id(short_id(kind, number)) == (kind, number)
    assert parse_id(f" {short_id(kind, number)}\n", kind) == number


@given(kinds, kinds, numbers)
def test_an_id_of_another_kind_is_refused_and_both_kinds_are_named(wanted, got, number):
    if wanted == got:
        return
    with pytest.raises(BadInput) as refusal:
        parse_id(short_id(got, number), wanted)
    assert KIND_NAMES[wanted] in str(refusal.value)
    assert KIND_NAMES[got] in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["", "n", "42", "n0", "n-1", "n042", "N42", "x1", "n1.0", "n42 n43", "n٣", "n" + "9" * 19]
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(BadInput, match=r"such as c1 \(campaign\)"):
        split_id(text)


def test_a_long_wrong_id_is_not_repeated_in_full():
    with pytest.raises(BadInput) as refusal:
        split_id("n1" * 10_000)
    assert len(str(refusal.value)) < 400
