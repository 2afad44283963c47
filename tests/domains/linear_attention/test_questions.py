"""The questions: no answer stands in what the model sees, and every row has a twin that must be answered alike."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from asi_evolve import domains
from hypothesis import given, settings
from hypothesis import strategies as st

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path.insert(0, str(FOLDER))

from tasks import questions  # noqa: E402
from tasks.synthetic import NOT_ASKED, TASKS  # noqa: E402

SEEDS = st.integers(0, 2**63)
PLACES = np.arange(1_000_000)
"""A text whose tokens are their own places, so that one can see where each comes from."""


def text_questions(seed, tokens=PLACES, **options):
    ask = {"rows": 16, "length": 128, "questions": 4, **options}
    return questions.of_text(np.random.default_rng(seed), tokens, None, **ask)


def all_questions(seed):
    yield text_questions(seed)
    for name in TASKS:
        yield questions.of_task(TASKS[name](), np.random.default_rng(seed), 16, 64)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_a_pair_of_questions_has_the_same_tokens_up_to_them_and_others_behind(seed):
    for asked in all_questions(seed):
        for row, question, other, other_question in asked.pairs.tolist():
            at = asked.positions[row, question]
            assert at == asked.positions[other, other_question]
            assert row != other
            assert np.array_equal(asked.tokens[row, : at + 1], asked.tokens[other, : at + 1])
            assert not np.array_equal(asked.tokens[row], asked.tokens[other])
            assert asked.labels[row, question] == asked.labels[other, other_question]
            # One of the two counts.
            assert asked.weights[row, question] + asked.weights[other, other_question] == 1


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_text_is_asked_where_a_segment_ends_and_the_answer_comes_nowhere_behind(seed):
    asked = text_questions(seed)
    for row in range(16):
        start = 0
        for question, at in enumerate(asked.positions[row].tolist()):
            segment, label = asked.tokens[row, start : at + 1], asked.labels[row, question]
            assert segment.tolist() == list(range(label - len(segment), label))
            start = at + 1
        assert start == 128


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_other_answers_make_the_same_inputs(seed):
    """So the inputs say nothing about the answers beyond what the text before them does."""
    first = text_questions(seed)
    seen = np.zeros(len(PLACES), dtype=bool)
    seen[first.tokens.ravel()] = True
    hidden = np.setdiff1d(first.labels[~seen[first.labels]], [])
    assert len(hidden) > 30
    other_text = PLACES.copy()
    other_text[hidden] = 7
    other = text_questions(seed, other_text)
    assert np.array_equal(first.tokens, other.tokens)
    assert np.array_equal(first.positions, other.positions)
    assert (other.labels == 7).sum() >= len(hidden)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_every_row_has_a_twin_so_that_none_can_be_treated_apart(seed):
    asked = text_questions(seed)
    assert sorted([*asked.pairs[:, 0], *asked.pairs[:, 2]]) == sorted([*range(16), *range(16)])
    # As many questions count as there are different ones.
    assert asked.weights.sum() == 8 * (2 + 2 * 2)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_row_of_a_task_shares_questions_with_its_twin(name):
    asked = questions.of_task(TASKS[name](), np.random.default_rng(1), 256, 64)
    assert len(np.unique(asked.pairs[:, [0, 2]])) == 256
    # And twins lie anywhere among the rows.
    apart = np.abs(asked.pairs[:, 0] - asked.pairs[:, 2])
    assert (apart > 16).mean() > 0.7


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(TASKS)), SEEDS, st.sampled_from([64, 200]))
def test_questions_of_a_task_are_those_that_it_asks(name, seed, length):
    task = TASKS[name]()
    asked = questions.of_task(task, np.random.default_rng(seed), 8, length)
    assert asked.positions.shape == asked.labels.shape == asked.weights.shape
    assert asked.positions.shape[1] <= questions.MOST_TASK_QUESTIONS
    assert 0 <= asked.labels.min() <= asked.labels.max() < task.vocabulary
    known = {row.tobytes(): targets for row, targets in zip(*_same_batches(task, seed, length), strict=True)}
    for row in range(8):
        targets = known[asked.tokens[row].tobytes()]
        assert np.array_equal(targets[asked.positions[row]], asked.labels[row])
        assert (asked.labels[row] != NOT_ASKED).all()


def _same_batches(task, seed, length):
    rng = np.random.default_rng(seed)
    batches = [task.batch(rng, 8, length, twins=True) for _ in range(questions.MOST_DRAWS)]
    return np.concatenate([tokens for tokens, _ in batches]), np.concatenate([targets for _, targets in batches])


def test_a_word_that_the_start_of_a_segment_cuts_is_blanked_out():
    text = np.frombuffer(b"(abcdefg hij) " * 2000, np.uint8)
    askable = np.flatnonzero(text == ord("j"))
    ask = {"rows": 16, "length": 64, "questions": 2, "word_start": True}
    asked = questions.of_text(np.random.default_rng(0), text, askable, **ask)
    for row in range(16):
        start = 0
        for at in asked.positions[row]:
            visible = bytes(asked.tokens[row, start : at + 1].astype(np.uint8))
            whole = b"(abcdefg hij) " * 10
            cut = len(visible) - len(visible.lstrip(b" "))
            assert whole.find(visible[cut:]) >= 0
            assert visible[cut : cut + 1] in (b"(", b")", b"a", b"h")
            # What is left begins with a whole word or with no word.
            assert not visible[cut:].startswith((b"a", b"h")) or visible[cut:].startswith((b"abcdefg ", b"hi"))
            start = at + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 15}, "even number of rows"),
        ({"questions": 1}, "two questions or more"),
        ({"length": 60}, "length of at least 64"),
        ({"tokens": np.arange(20)}, "held-out text of more than"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        text_questions(0, **options)


def test_rows_too_short_to_ask_anything_are_refused():
    with pytest.raises(ValueError, match="Ask for longer rows"):
        questions.of_task(TASKS["recall"](keys=100), np.random.default_rng(0), 64, 4)
