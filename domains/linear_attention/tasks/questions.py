"""What a trained model is asked: rows of tokens, places in them, and the answers, which only the evaluator gets.

Every row has a twin with the same tokens up to some question and others behind it. The model must answer both alike, or
it has looked ahead or across the batch. Rows are shuffled, and since all have twins, none can be treated apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.synthetic import NOT_ASKED, Task

MOST_TASK_QUESTIONS = 32
"""Of one row."""

MOST_DRAWS = 20

SHORTEST_SEGMENT = 8


class Questions(NamedTuple):
    """`tokens` and `positions` are for the model, everything else for the evaluator."""

    tokens: np.ndarray
    """(rows, length) int64."""
    positions: np.ndarray
    """(rows, questions) int64: the answer is predicted there. Rows with fewer questions repeat the last."""
    labels: np.ndarray
    """(rows, questions) int64."""
    weights: np.ndarray
    """(rows, questions) float64: 1 where the question counts, 0 where it is a repetition or its twin counts already."""
    pairs: np.ndarray
    """(pairs, 4) int64: row, question, row, question that must be answered alike."""


def of_task(task: Task, rng: np.random.Generator, rows: int, length: int) -> Questions:
    """Questions of a synthetic task; `rows` is even."""
    tokens, targets = _twins(task, rng, rows, length)
    shared = _same_until(tokens)
    # Of many questions, the same ones in both twins.
    chances = np.repeat(rng.random((rows // 2, length)), 2, axis=0)
    positions = [
        _thinned(np.flatnonzero(row != NOT_ASKED), chance) for row, chance in zip(targets, chances, strict=True)
    ]
    most = max(len(places) for places in positions)
    padded = np.zeros((rows, most), dtype=np.int64)
    weights = np.zeros((rows, most))
    for row, places in enumerate(positions):
        padded[row, : len(places)] = places
        padded[row, len(places) :] = places[-1]
        weights[row, : len(places)] = 1
    labels = np.take_along_axis(targets, padded, 1)
    return _paired(rng, tokens, padded, labels, weights, shared)


def of_text(
    rng: np.random.Generator,
    tokens: np.ndarray,
    askable: np.ndarray | None,
    *,
    rows: int,
    length: int,
    questions: int,
    word_start: bool = False,
) -> Questions:
    """Questions about the next token of held-out text.

    A row is `questions` segments of different places in the text, each ending right before the token that is asked:
    what comes behind belongs to another segment, so that no answer stands in the row. The first segment has about half
    of the row. `askable`: places that may be asked, all where None. `word_start`: a word that is cut by the start of a
    segment is blanked out, so that nobody can gain by knowing what it was.
    """
    ends = _segment_ends(rng, rows, length, questions)
    starts = np.concatenate([np.zeros((rows, 1), dtype=np.int64), ends[:, :-1]], axis=1)
    asked = _draw_places(rng, len(tokens), askable, (rows, questions), int((ends - starts).max()))
    shared = questions // 2
    asked[1::2, :shared] = asked[::2, :shared]
    filled = np.empty((rows, length), dtype=np.int64)
    for row in range(rows):
        for start, end, place in zip(starts[row], ends[row], asked[row], strict=True):
            segment = np.asarray(tokens[place - (end - start) : place], dtype=np.int64)
            filled[row, start:end] = _without_cut_word(tokens, place, segment) if word_start else segment
    labels = np.asarray(tokens[asked.ravel()], dtype=np.int64).reshape(asked.shape)
    # Labels are shared where the segment was; the tokens behind may happen to begin alike.
    same_until = np.minimum(_same_until(filled), ends[::2, shared - 1])
    return _paired(rng, filled, ends - 1, labels, np.ones(labels.shape), same_until)


def _twins(task: Task, rng: np.random.Generator, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows that differ somewhere and both ask something before; some happen not to."""
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(MOST_DRAWS):
        tokens, targets = task.batch(rng, rows, length, twins=True)
        until = _same_until(tokens)
        asked = (targets[::2] != NOT_ASKED) & (targets[1::2] != NOT_ASKED) & (np.arange(length) < until[:, None])
        useful = np.repeat(asked.any(1) & (until < length), 2)
        kept.append((tokens[useful], targets[useful]))
        if sum(len(tokens) for tokens, _ in kept) >= rows:
            return np.concatenate([pair[0] for pair in kept])[:rows], np.concatenate([pair[1] for pair in kept])[:rows]
    raise ValueError(
        f"Expected rows of {length} tokens that ask for something, but hardly any do. Ask for longer rows."
    )


def _same_until(tokens: np.ndarray) -> np.ndarray:
    """(pairs,): the first place where rows 2i and 2i + 1 differ, the length where they do not."""
    differ = tokens[::2] != tokens[1::2]
    return np.where(differ.any(1), differ.argmax(1), tokens.shape[1])


def _thinned(places: np.ndarray, chances: np.ndarray) -> np.ndarray:
    return np.sort(places[np.argsort(chances[places])[:MOST_TASK_QUESTIONS]])


def _segment_ends(rng: np.random.Generator, rows: int, length: int, questions: int) -> np.ndarray:
    """(rows, questions): twins alike; the last one ends the row, the first half is one segment but for some jitter."""
    if length < 2 * questions * SHORTEST_SEGMENT:
        raise ValueError(
            f"Expected a length of at least {2 * questions * SHORTEST_SEGMENT} for {questions} questions, got {length}."
        )
    if rows % 2 or questions < 2:
        raise ValueError(
            f"Expected an even number of rows and two questions or more of each, but got {rows} and {questions}."
        )
    step = length // 2 // (questions - 1)
    ends = length - step * np.arange(questions - 1, -1, -1)
    jitter = rng.integers(0, step - SHORTEST_SEGMENT + 1, (rows // 2, questions))
    jitter[:, -1] = 0
    return np.repeat(ends - jitter, 2, axis=0)


def _draw_places(
    rng: np.random.Generator, size: int, askable: np.ndarray | None, shape: tuple[int, int], longest: int
) -> np.ndarray:
    """Places with enough text before them."""
    if askable is None:
        if size <= longest:
            raise ValueError(f"Expected held-out text of more than {longest} tokens, but got {size}. Give more.")
        return rng.integers(longest, size, shape)
    usable = askable[np.searchsorted(askable, longest) :]
    if not len(usable):
        raise ValueError(f"Expected held-out text of more than {longest} tokens, but got {size}. Give more.")
    return usable[rng.integers(len(usable), size=shape)]


_IN_WORD = np.zeros(256, dtype=bool)
_IN_WORD[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] = True


def _without_cut_word(tokens: np.ndarray, place: int, segment: np.ndarray) -> np.ndarray:
    before = place - len(segment) - 1
    if before < 0 or not _IN_WORD[tokens[before]]:
        return segment
    inside = _IN_WORD[segment]
    cut = len(segment) if inside.all() else int(np.argmin(inside))
    return np.concatenate([np.full(cut, ord(" ")), segment[cut:]])


def _paired(
    rng: np.random.Generator,
    tokens: np.ndarray,
    positions: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    same_until: np.ndarray,
) -> Questions:
    """Pair the questions of rows 2i and 2i + 1 before `same_until`, count each pair once, and shuffle the rows."""
    rows = len(tokens)
    order = rng.permutation(rows)
    place = np.argsort(order)
    pairs = []
    for even in range(0, rows, 2):
        asked = {positions[even, question]: question for question in np.flatnonzero(weights[even])}
        for other in np.flatnonzero(weights[even + 1]):
            question = asked.get(positions[even + 1, other])
            if question is not None and positions[even, question] < same_until[even // 2]:
                pairs.append((place[even], question, place[even + 1], other))
                weights[even + 1, other] = 0
    return Questions(
        tokens[order], positions[order], labels[order], weights[order], np.asarray(pairs, dtype=np.int64).reshape(-1, 4)
    )
