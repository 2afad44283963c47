"""The synthetic tasks: each answer is what a reader of the row up to there would say, and nothing behind tells it."""

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

from tasks.synthetic import (  # noqa: E402
    NOT_ASKED,
    TASKS,
    Compression,
    FuzzyRecall,
    Mqar,
    Overwrite,
    Recall,
    SelectiveCopying,
    from_parameters,
)

ALL = sorted(TASKS)
SEEDS = st.integers(0, 2**63)


# ---- readers that know only the tokens ----


def read_recall(row, task):
    known, answers, place = {}, {}, 0
    while place < len(row):
        token = row[place]
        if token >= task.keys + task.values:
            assert token < task.vocabulary - 1  # a blank stands behind a key alone
            place += 1
            continue
        assert token < task.keys  # and so does a value
        following = row[place + 1]
        if following == task.vocabulary - 1:
            answers[place] = known[token]
        else:
            assert token not in known
            known[token] = following
        place += 2
    return answers


def read_overwrite(row, task):
    known, answers = {}, {}
    for place in range(0, len(row) - 1, 2):
        key, following = row[place], row[place + 1]
        if following == task.vocabulary - 1:
            answers[place] = known[key]
        else:
            known[key] = following
    return answers


def read_mqar(row, task):
    head = 2 * task.pairs
    known = dict(zip(row[0:head:2], row[1:head:2], strict=True))
    assert len(known) == task.pairs
    answers = {place: known[row[place]] for place in range(head, len(row)) if row[place] < task.keys}
    assert len(answers) == task.pairs  # each key once
    assert all(row[place + 1] == task.vocabulary - 1 for place in answers)
    return answers


def read_fuzzy_recall(row, task):
    blank, filler = task.vocabulary - 1, task.vocabulary - 2
    known, answers, place = {}, {}, 0
    while place < len(row) and row[place] != filler:
        start = place
        while row[place] < task.letters:
            place += 1
        key, start = tuple(row[start:place]), place
        if row[place] == blank:
            while place < len(row) and row[place] == blank:
                answers[place - 1] = known[key][place - start]
                place += 1
            assert place - start == len(known[key])
        else:
            while place < len(row) and task.letters <= row[place] < filler:
                place += 1
            assert key not in known
            known[key] = row[start:place]
    assert all(token == filler for token in row[place:])
    return answers


def read_selective_copying(row, task):
    marker = row.index(task.vocabulary - 2)
    symbols = [token for token in row[:marker] if token < task.symbols]
    assert len(symbols) == task.copies
    assert row[marker + 1 : marker + task.copies] == [task.vocabulary - 1] * (task.copies - 1)
    assert all(task.symbols <= token < task.vocabulary - 2 for token in row[marker + task.copies :])
    return {marker + place: symbol for place, symbol in enumerate(symbols)}


def read_compression(row, task):
    marker = row.index(task.vocabulary - 1)
    return {place: row[row[place] - task.symbols] for place in range(marker + 1, len(row))}


READERS = {
    "recall": read_recall,
    "overwrite": read_overwrite,
    "mqar": read_mqar,
    "fuzzy_recall": read_fuzzy_recall,
    "selective_copying": read_selective_copying,
    "compression": read_compression,
}


@st.composite
def tasks_with_lengths(draw):
    small = st.integers(2, 12)
    task = draw(
        st.one_of(
            st.builds(Recall, keys=small, values=small, noise=st.floats(0, 0.9), noise_tokens=small),
            st.builds(Overwrite, keys=small, values=small, queries=st.floats(0, 1)),
            st.builds(Mqar, keys=st.integers(6, 20), values=small, pairs=st.integers(1, 6), power=st.floats(0.01, 1)),
            st.builds(FuzzyRecall, entries=small, letters=small, longest=st.integers(1, 4)),
            st.builds(SelectiveCopying, symbols=small, copies=st.integers(1, 8), noise_tokens=small),
            st.builds(Compression, symbols=small, places=st.integers(2, 12)),
        )
    )
    return task, draw(st.integers(26, 80))


@settings(max_examples=150, deadline=None)
@given(tasks_with_lengths(), SEEDS, st.booleans())
def test_every_answer_is_what_a_reader_of_the_row_says(of, seed, twins):
    task, length = of
    tokens, targets = task.batch(np.random.default_rng(seed), 4, length, twins=twins)
    assert tokens.shape == targets.shape == (4, length)
    assert tokens.dtype == targets.dtype == np.int64
    assert 0 <= tokens.min() <= tokens.max() < task.vocabulary
    for row, asked in zip(tokens.tolist(), targets.tolist(), strict=True):
        said = {place: answer for place, answer in enumerate(asked) if answer != NOT_ASKED}
        assert said == READERS[task.name](row, task)


@pytest.mark.parametrize("name", ALL)
def test_a_batch_depends_on_its_generator_alone(name):
    np.random.seed(1)
    first = TASKS[name]().batch(np.random.default_rng(7), 16, 64)
    np.random.seed(2)
    again = TASKS[name]().batch(np.random.default_rng(7), 16, 64)
    other = TASKS[name]().batch(np.random.default_rng(8), 16, 64)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ALL), SEEDS)
def test_twins_are_alike_up_to_some_place_and_differ_behind_it(name, seed):
    tokens, targets = TASKS[name]().batch(np.random.default_rng(seed), 8, 64, twins=True)
    for even in range(0, 8, 2):
        differ = np.flatnonzero(tokens[even] != tokens[even + 1])
        until = differ[0] if len(differ) else 64
        assert until >= 16
        # The last common token may be a key that one row asks for and the other binds.
        assert np.array_equal(targets[even, : until - 1], targets[even + 1, : until - 1])
    assert (tokens[::2] != tokens[1::2]).any()


@pytest.mark.parametrize("name", ALL)
def test_rows_ask_enough_and_answers_are_even(name):
    task = TASKS[name]()
    _, targets = task.batch(np.random.default_rng(3), 512, 64)
    asked = targets[targets != NOT_ASKED]
    assert len(asked) / 512 > 6
    _, counts = np.unique(asked, return_counts=True)
    # No answer is much more frequent than the others, so that the best constant is no better than chance.
    assert counts.max() < 1.5 * counts.mean()


def test_a_fifth_of_a_recall_row_is_noise_and_the_rest_pairs():
    task = Recall()
    tokens, _ = task.batch(np.random.default_rng(0), 2000, 64)
    noise = (tokens >= task.keys + task.values) & (tokens < task.vocabulary - 1)
    assert noise.mean() == pytest.approx(0.2, abs=0.02)


def test_overwrite_asks_for_values_that_took_the_place_of_others():
    task = Overwrite()
    tokens, _ = task.batch(np.random.default_rng(0), 500, 64)
    replaced = asked = 0
    for row in tokens.tolist():
        writes: dict[int, list[int]] = {}
        for key, following in zip(row[::2], row[1::2], strict=True):
            if following == task.vocabulary - 1:
                asked += 1
                replaced += len(set(writes[key])) > 1
            else:
                writes.setdefault(key, []).append(following)
    assert replaced / asked > 0.4


def test_gaps_of_mqar_follow_the_power_law():
    task = Mqar(power=0.01)
    _, targets = task.batch(np.random.default_rng(0), 4000, 128)
    slots = (np.nonzero(targets != NOT_ASKED)[1] - 2 * task.pairs) // 2
    share = np.bincount(slots, minlength=56) / 4000
    # Drawn one by one, each with the probability of the law among those that are left.
    law = np.arange(1, 57) ** (task.power - 1.0)
    rng, drawn = np.random.default_rng(1), np.zeros(56)
    for _ in range(4000):
        drawn[rng.choice(56, size=task.pairs, replace=False, p=law / law.sum())] += 1
    assert np.abs(share - drawn / 4000).max() < 0.04


def test_options_come_from_parameters_by_name():
    task = from_parameters("recall", {"recall_keys": 8, "recall_length": 64, "overwrite_keys": 3})
    assert task == Recall(keys=8)
    with pytest.raises(ValueError, match="Expected a task among"):
        from_parameters("recal", {})


@pytest.mark.parametrize(
    ("task", "length"),
    [(Mqar(), 31), (SelectiveCopying(), 20), (Compression(), 34), (FuzzyRecall(), 5), (Overwrite(), 3)],
)
def test_a_row_that_is_too_short_is_refused_with_what_it_takes(task, length):
    with pytest.raises(ValueError, match=r"at least \d+ .*but got"):
        task.batch(np.random.default_rng(0), 4, length)


def test_twins_need_an_even_number_of_rows():
    with pytest.raises(ValueError, match="even number"):
        Recall().batch(np.random.default_rng(0), 3, 64, twins=True)
