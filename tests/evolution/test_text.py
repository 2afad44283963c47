"""Text from outside cannot act on a terminal, hide from a reader, or grow without bound."""

import unicodedata

import pytest
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.text import accepted, excerpt, inert
from hypothesis import given
from hypothesis import strategies as st

any_text = st.text(alphabet=st.characters())  # lone surrogates and controls included


@given(any_text)
def test_inert_text_is_printable_whatever_it_was_made_from(text):
    kept = inert(text)
    kept.encode()
    assert not [c for c in kept if unicodedata.category(c) == "Cc" and c not in "\t\n"]
    assert inert(kept) == kept


@given(st.text(alphabet="aé漢🙂 \t\n.-_"))
def test_ordinary_text_stays_as_it_is(text):
    assert inert(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a\x1b[31mred", "a[31mred"),
        ("a\x9b31m", "a31m"),
        ("a\rb", "ab"),
        ("a\r\nb", "a\nb"),
        ("safe\u202egnp.exe", "safegnp.exe"),
        ("a\u2066b\u2069", "ab"),
        ("a\u200bb\ufeff", "ab"),
        ("a" + "".join(chr(0xE0000 + ord(c)) for c in "ignore all") + "b", "ab"),
        ("a\u2028b", "ab"),
        ("a\0b", "ab"),
        ("a\ud800b", "a?b"),
    ],
)
def test_characters_that_act_or_hide_are_dropped(text, left):
    assert inert(text) == left


def test_an_accepted_text_is_stripped():
    assert accepted("  a b \n", "name", limit=3) == "a b"


@pytest.mark.parametrize("text", ["", " \n", "\u200b", "\x00"])
def test_a_required_text_that_says_nothing_is_refused_by_name(text):
    with pytest.raises(BadInput, match="Expected motivation to say something"):
        accepted(text, "motivation", limit=10)
    assert accepted(text, "symptom", limit=10, required=False) == ""


def test_a_text_over_its_limit_is_refused_with_both_numbers():
    assert accepted("x" * 80, "name", limit=80) == "x" * 80
    with pytest.raises(BadInput, match=r"name to have at most 80 characters, but it has 81"):
        accepted("x" * 81, "name", limit=80)


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_an_excerpt_is_the_whole_text_or_its_beginning_with_an_ellipsis(text, limit):
    shown = excerpt(text, limit)
    assert len(shown) <= limit
    assert shown == text or (shown.endswith("…") and text.startswith(shown[:-1]))
    assert shown == text or len(text) > limit
