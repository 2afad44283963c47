"""When two items say the same: examples on both sides of the thresholds, and what holds for any texts."""

import pytest
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.knowledge import Knowledge, checked, union
from asi_evolve.evolution.resemblance import (
    NEARLY_EQUAL,
    containment,
    jaccard,
    opposition,
    resemblance,
    shingles,
    words,
)
from hypothesis import given
from hypothesis import strategies as st

DELTA = (
    "Write the error of the recall instead of the value: S += beta (v - S k) k^T. The memory corrects what it holds "
    "under a key before it stores the new value, so that associations interfere less once there are more of them than "
    "dimensions. Keys must have unit length, or the transition can have an eigenvalue below -1."
)
ABSTRACT = (
    "Transformers with linear attention and state-space models have recently been suggested as a viable linear-time "
    "alternative to transformers with softmax attention. However, these models still underperform transformers "
    "especially on tasks that require in-context retrieval. While more expressive variants which replace the additive "
    "update with the delta rule have been found to be more effective at associative recall, existing algorithms for "
    "training such models do not parallelize over sequence length and are thus inefficient to train on modern hardware."
)
PAPER = "arxiv:2406.06484"


def item(title, body, *sources, tags=(), symptom=""):
    return Knowledge(title, body, symptom, sources or ("own observation",), tags)


COPIES = {
    "other spelling and punctuation": (
        item("Delta rule", DELTA),
        item("The delta rule", DELTA.replace(":", " -").replace(",", ";").upper()),
    ),
    "a word corrected": (item("Delta rule", DELTA), item("Delta rule", DELTA.replace("associations", "pairs"))),
    "a sentence more": (
        item("Delta rule", DELTA),
        item("Delta rule", DELTA + " A short convolution on the keys lets it compare neighbours."),
    ),
    "a copy under another source": (item("Delta rule", DELTA, PAPER), item("Delta rule", DELTA, "doi:10.1/x")),
    "the abstract once more": (item("Parallelizing", ABSTRACT, PAPER), item("Parallelizing", ABSTRACT, PAPER)),
    "a later version of the abstract": (
        item("Parallelizing", ABSTRACT, PAPER),
        item(
            "Parallelizing",
            ABSTRACT.replace("recently been suggested as a viable", "been proposed as an efficient").replace(
                "especially on tasks that", "on tasks which"
            ),
            PAPER,
        ),
    ),
    "half of the abstract, from the same paper": (
        item("Parallelizing", ABSTRACT, PAPER),
        item("Delta rule in parallel", ABSTRACT[:260], PAPER),
    ),
}
DIFFERENT = {
    "another number": (
        item("Step", DELTA + " Multiply beta by 0.1 whenever the loss has not fallen for ten epochs."),
        item("Step", DELTA + " Multiply beta by 0.3 whenever the loss has not fallen for ten epochs."),
    ),
    "another number in words": (
        item("Surgery", "Remove the two smallest circles and put them back into the largest holes; then solve again."),
        item(
            "Surgery", "Remove the three smallest circles and put them back into the largest holes; then solve again."
        ),
    ),
    "the opposite direction": (
        item("Delta rule", DELTA),
        item("Delta rule", DELTA.replace("interfere less", "interfere more")),
    ),
    "a negation": (item("Delta rule", DELTA), item("Delta rule", DELTA.replace("must have", "must not have"))),
    "a negation in a long text of one source": (
        item("Parallelizing", ABSTRACT, PAPER),
        item("Parallelizing", ABSTRACT.replace("do not parallelize", "parallelize"), PAPER),
    ),
    "the same mould": (
        item(
            "Adam",
            "An optimiser for networks. It keeps running means of gradients and of their squares for each weight.",
        ),
        item("Lion", "An optimiser for networks. It keeps the sign of a running mean of gradients for each weight."),
    ),
    "two items of one book": (
        item("Augmented Lagrangian", "Penalties plus multipliers keep subproblems well conditioned.", "doi:10.1/book"),
        item("Trust regions", "The ratio of actual to predicted decrease sets the radius.", "doi:10.1/book"),
    ),
    "the same words of two nodes": (
        item("Restart", "Restarts help on plateaus.", "own observation"),
        item("Restart early", "Momentum is needed on ridges.", "own observation"),
    ),
    "own words beside the abstract": (item("Parallelizing", ABSTRACT, PAPER), item("Parallelizing", DELTA, PAPER)),
}


@pytest.mark.parametrize("case", COPIES)
@pytest.mark.parametrize("turned", [False, True])
def test_copies_are_one(case, turned):
    first, second = COPIES[case][::-1] if turned else COPIES[case]
    found = resemblance(first, second)
    assert found is not None and found.same, found


@pytest.mark.parametrize("case", DIFFERENT)
@pytest.mark.parametrize("turned", [False, True])
def test_different_items_stay_two(case, turned):
    first, second = DIFFERENT[case][::-1] if turned else DIFFERENT[case]
    found = resemblance(first, second)
    assert found is None or not found.same, found


def test_the_threshold_lies_between_copies_and_moulds():
    def similarity(pair):
        return jaccard(shingles(pair[0].text), shingles(pair[1].text))

    whole = [pair for case, pair in COPIES.items() if "half" not in case and "later" not in case]
    moulds = [pair for case, pair in DIFFERENT.items() if not opposition(pair[0].text, pair[1].text)]
    assert max(map(similarity, moulds)) < 0.6 < NEARLY_EQUAL < 0.8 < min(map(similarity, whole))


def test_what_is_close_says_why_it_was_kept_apart():
    found = resemblance(*DIFFERENT["own words beside the abstract"])
    assert found is not None
    assert found.why == f"the same source {PAPER} and title, but another text"
    found = resemblance(*DIFFERENT["another number"])
    assert found is not None
    assert "they differ in 0.1, 0.3" in found.why


texts = st.text("ab c.0", max_size=40)
sets = st.frozensets(st.integers(0, 8), max_size=8)
items = st.builds(Knowledge, texts, texts, texts, st.tuples(st.sampled_from([PAPER, "own observation"])), st.just(()))


@given(items, items)
def test_resemblance_does_not_depend_on_who_came_first(first, second):
    forth, back = resemblance(first, second), resemblance(second, first)
    assert (forth is None) == (back is None)
    assert forth is None or forth.same == back.same


@given(items)
def test_an_item_with_any_words_is_the_same_as_itself(item):
    found = resemblance(item, item)
    assert bool(found and found.same) == bool(words(item.text))


@given(sets, sets)
def test_similarities_are_shares(first, second):
    assert 0 <= jaccard(first, second) <= containment(first, second) <= 1
    assert (jaccard(first, second) == 1) == (first == second and bool(first))
    assert (containment(first, second) == 1) == (bool(first and second) and (first <= second or second <= first))


@given(st.text(max_size=60))
def test_shingles_see_words_alone(text):
    assert shingles(text) == shingles(f" {text}\n")
    assert all(0 < len(run) <= 3 for run in shingles(text))
    assert bool(shingles(text)) == bool(words(text))


@given(st.lists(st.text("abAB", max_size=2)), st.lists(st.text("abAB", max_size=2)))
def test_a_union_loses_no_tag_and_keeps_none_twice(first, second):
    both = union(first, second)
    assert {word.casefold() for word in both} == {word.casefold() for word in [*first, *second]}
    assert len({word.casefold() for word in both}) == len(both)
    assert union(both, ()) == both


@given(
    st.text(min_size=1, max_size=50),
    st.text(min_size=1, max_size=200),
    st.text(max_size=50),
    st.lists(st.text(max_size=9)),
)
def test_a_checked_item_is_inert_and_checking_it_again_changes_nothing(title, body, symptom, tags):
    try:
        once = checked(title=title, body=body, symptom=symptom, sources=["own observation"], tags=tags, where="item 1")
    except BadInput as error:
        assert "item 1" in str(error)
        return
    again = checked(
        title=once.title, body=once.body, symptom=once.symptom, sources=once.sources, tags=once.tags, where="item 1"
    )
    assert again == once
    assert once.text.encode().decode() == once.text
