"""Synthetic tasks that ask a sequence mixer for its memory, as batches of tokens and targets.

    task = TASKS["recall"](keys=16)                          # options are the fields of the class
    tokens, targets = task.batch(rng, batch=64, length=64)   # both (batch, length) int64
    task.vocabulary                                          # token ids are below this

`targets` holds the token to answer with where something is asked and `NOT_ASKED` elsewhere. No token behind a question
depends on its answer: where a value would follow a queried key there is a blank, in training too, so that a mixer that
looks ahead finds nothing there. Batches depend on the state of the generator alone.

With `twins=True` rows 2i and 2i + 1 have the same tokens up to some place in the middle and others behind it. A causal
model must answer both alike up to there.

Sources: MAD (Poli et al. 2024, arXiv 2403.17844, section 3.1 and appendix B) for recall with noise, fuzzy recall,
selective copying (after Gu and Dao 2023, arXiv 2312.00752) and compression; Zoology (Arora et al. 2023, arXiv
2312.04927) for multi-query associative recall; `overwrite` asks what the delta rule is for (Schlag et al. 2021, arXiv
2102.11174, section 6.1: keys that are bound again). The batches are ours and not theirs to the letter; each class says
where it differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np

NOT_ASKED = -100
"""What cross entropy in torch ignores by default."""

Batch = tuple[np.ndarray, np.ndarray]


class Task(Protocol):
    """What the classes below have in common."""

    name: ClassVar[str]

    @property
    def vocabulary(self) -> int: ...

    def batch(self, rng: np.random.Generator, batch: int, length: int, twins: bool = False) -> Batch: ...


class _Draws:
    """Random arrays whose odd rows repeat the even ones: altogether, or up to a slot that each pair of rows draws."""

    def __init__(self, rng: np.random.Generator, batch: int, twins: bool) -> None:
        if twins and batch % 2:
            raise ValueError(f"Expected an even number of rows for twins, but got {batch}.")
        self.rng, self.twins = rng, twins
        self.share = rng.uniform(0.4, 0.8, (batch // 2, 1)) if twins else None

    def rows(self, array: np.ndarray) -> np.ndarray:
        """What holds for the whole row: the same in both twins."""
        if self.twins:
            array[1::2] = array[::2]
        return array

    def slots(self, array: np.ndarray, used: float | None = None) -> np.ndarray:
        """Drawn slot by slot, (batch, slots): twins differ behind the cut. `used`: slots that a row has room for."""
        if self.share is not None:
            shared = np.arange(array.shape[1]) < self.share * (used or array.shape[1])
            array[1::2] = np.where(shared, array[::2], array[1::2])
        return array

    def shuffled(self, array: np.ndarray) -> np.ndarray:
        """As `slots`, where each row has to keep what it holds: behind the cut twins have it in another order."""
        if self.share is not None:
            place = np.arange(array.shape[1])
            shared = place < self.share * array.shape[1]
            order = np.argsort(np.where(shared, place - array.shape[1], self.rng.random(shared.shape)))
            array[1::2] = np.take_along_axis(array[::2], order, 1)
        return array


def _by_key(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slots of each row ordered by key and then by place, and where in that order a key comes first."""
    order = np.argsort(key.astype(np.int16), axis=1, kind="stable")
    ordered = np.take_along_axis(key, order, 1)
    first = np.ones(key.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return order, first


def _seen_before(key: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Which slots (batch, slots) hold a key that an earlier slot held; slots that are not `present` hold none."""
    alone = key.max(initial=0) + 1 + np.arange(key.shape[1])
    order, first = _by_key(np.where(present, key, alone))
    seen = np.empty_like(first)
    np.put_along_axis(seen, order, ~first, 1)
    return seen


def _check_length(length: int, shortest: int, what: str) -> None:
    if length < shortest:
        raise ValueError(f"Expected a length of at least {shortest} for {what}, but got {length}.")


@dataclass(frozen=True)
class Recall:
    """In-context recall with noise: keys with their values, noise tokens between them; a key that comes again is asked.

    MAD trains on every key that comes again with its value behind it; here a blank is behind it.
    Tokens: keys, values, noise, blank.
    """

    name: ClassVar[str] = "recall"
    keys: int = 16
    values: int = 16
    noise: float = 0.2
    """Share of the tokens."""
    noise_tokens: int = 16

    @property
    def vocabulary(self) -> int:
        return self.keys + self.values + self.noise_tokens + 1

    def batch(self, rng: np.random.Generator, batch: int, length: int, twins: bool = False) -> Batch:
        draws, slots, blank = _Draws(rng, batch, twins), (batch, length), self.vocabulary - 1
        tokens = draws.rows(self.keys + self.values + rng.integers(self.noise_tokens, size=slots))
        # A pair takes two tokens, so that noise is a larger share of the slots than of the tokens.
        is_noise = rng.random(slots) < 2 * self.noise / (1 + self.noise)
        used = length / (2 - 2 * self.noise / (1 + self.noise))
        is_noise = draws.slots(is_noise, used)
        key = draws.slots(rng.integers(self.keys, size=slots), used)
        junk = draws.slots(self.keys + self.values + rng.integers(self.noise_tokens, size=slots), used)
        table = draws.rows(self.keys + rng.integers(self.values, size=(batch, self.keys)))
        value = np.take_along_axis(table, key, 1)

        end = np.cumsum(np.where(is_noise, 1, 2), axis=1)
        pair = ~is_noise & (end <= length)
        asked = _seen_before(key, pair)
        targets = np.full(slots, NOT_ASKED)
        row, slot = np.nonzero(pair)
        tokens[row, end[row, slot] - 2] = key[row, slot]
        tokens[row, end[row, slot] - 1] = np.where(asked, blank, value)[row, slot]
        targets[row, end[row, slot] - 2] = np.where(asked, value, NOT_ASKED)[row, slot]
        row, slot = np.nonzero(is_noise & (end <= length))
        tokens[row, end[row, slot] - 1] = junk[row, slot]
        return tokens, targets


@dataclass(frozen=True)
class Overwrite:
    """Keys are bound to values again and again; a query asks for the latest value. Each slot is a write or a query.

    A sum of outer products cannot take the old value back, which is what the delta rule does.
    Tokens: keys, values, blank.
    """

    name: ClassVar[str] = "overwrite"
    keys: int = 8
    values: int = 16
    queries: float = 0.5
    """Share of the slots with a key that is bound by then."""

    @property
    def vocabulary(self) -> int:
        return self.keys + self.values + 1

    def batch(self, rng: np.random.Generator, batch: int, length: int, twins: bool = False) -> Batch:
        _check_length(length, 4, self.name)
        draws, slots, blank = _Draws(rng, batch, twins), (batch, length // 2), self.vocabulary - 1
        key = draws.slots(rng.integers(self.keys, size=slots))
        value = draws.slots(self.keys + rng.integers(self.values, size=slots))
        query = draws.slots(rng.random(slots) < self.queries)

        # Ordered by key, the latest write of a key is the latest write at all: the first slot of each key is one.
        order, first = _by_key(key)
        write = first | ~np.take_along_axis(query, order, 1)
        latest = np.maximum.accumulate(np.where(write, np.arange(slots[1]), 0), axis=1)
        latest = np.take_along_axis(np.take_along_axis(value, order, 1), latest, 1)
        answer, asked = np.empty_like(value), np.empty_like(query)
        np.put_along_axis(answer, order, latest, 1)
        np.put_along_axis(asked, order, ~write, 1)

        tokens, targets = np.full((batch, length), blank), np.full((batch, length), NOT_ASKED)
        whole = 2 * slots[1]
        tokens[:, 0:whole:2] = key
        tokens[:, 1:whole:2] = np.where(asked, blank, value)
        targets[:, 0:whole:2] = np.where(asked, answer, NOT_ASKED)
        return tokens, targets


@dataclass(frozen=True)
class Mqar:
    """Multi-query associative recall: pairs first, then each key once, at gaps that follow a power law, among fillers.

    Differs from Zoology in the vocabulary (theirs is 8,192), in what follows a key (a blank) and in the fillers between
    the queries (values only, so that no key stands there by chance). Tokens: keys, values, blank.
    """

    name: ClassVar[str] = "mqar"
    keys: int = 64
    values: int = 64
    pairs: int = 8
    power: float = 0.01
    """Exponent a of the density a * gap ** (a - 1): the smaller, the more queries come soon after the pairs."""

    @property
    def vocabulary(self) -> int:
        return self.keys + self.values + 1

    def batch(self, rng: np.random.Generator, batch: int, length: int, twins: bool = False) -> Batch:
        _check_length(length, 4 * self.pairs, f"{self.name} with {self.pairs} pairs")
        if self.pairs > self.keys:
            raise ValueError(f"Expected at most as many pairs as keys, {self.keys}, but got {self.pairs}.")
        draws, slots = _Draws(rng, batch, twins), (batch, length // 2 - self.pairs)
        key = draws.rows(np.argsort(rng.random((batch, self.keys)), axis=1)[:, : self.pairs])
        value = draws.rows(self.keys + rng.integers(self.values, size=(batch, self.pairs)))
        # The largest of log density + Gumbel noise are a draw without replacement.
        gaps = np.log(np.arange(1, slots[1] + 1)) * (self.power - 1)
        places = np.argsort(-(gaps + rng.gumbel(size=slots)), axis=1)[:, : self.pairs]
        pair = np.full(slots, -1)
        np.put_along_axis(pair, places, np.broadcast_to(np.arange(self.pairs), places.shape), 1)
        pair = draws.shuffled(pair)

        tokens = self.keys + rng.integers(self.values, size=(batch, length))
        tokens[:, 2 * self.pairs :] = draws.slots(tokens[:, 2 * self.pairs :], 2 * slots[1])
        targets = np.full((batch, length), NOT_ASKED)
        tokens[:, 0 : 2 * self.pairs : 2], tokens[:, 1 : 2 * self.pairs : 2] = key, value
        row, slot = np.nonzero(pair >= 0)
        asked = 2 * (self.pairs + slot)
        tokens[row, asked] = key[row, pair[row, slot]]
        tokens[row, asked + 1] = self.vocabulary - 1
        targets[row, asked] = value[row, pair[row, slot]]
        return tokens, targets


@dataclass(frozen=True)
class FuzzyRecall:
    """Recall where keys and values are words of one to several tokens; a word that comes again is asked for its value.

    The first token of the value is asked at the last token of the key, the others at the blanks that stand for it.
    Tokens: letters of keys, letters of values, filler at the end of a row, blank.
    """

    name: ClassVar[str] = "fuzzy_recall"
    entries: int = 16
    """Words that a row draws from; fewer where two are the same."""
    letters: int = 16
    longest: int = 3

    @property
    def vocabulary(self) -> int:
        return 2 * self.letters + 2

    def batch(self, rng: np.random.Generator, batch: int, length: int, twins: bool = False) -> Batch:
        _check_length(length, 2 * self.longest, self.name)
        draws, slots, blank = _Draws(rng, batch, twins), (batch, length // 2), self.vocabulary - 1
        words = (batch, self.entries, self.longest)
        key_size = draws.rows(rng.integers(1, self.longest + 1, size=words[:2]))
        value_size = draws.rows(rng.integers(1, self.longest + 1, size=words[:2]))
        key = draws.rows(rng.integers(self.letters, size=words))
        value = draws.rows(self.letters + rng.integers(self.letters, size=words))
        entry = draws.slots(rng.integers(self.entries, size=slots), length / (self.longest + 1))
        # Two words that are the same are one entry, the earlier one.
        inside = np.arange(self.longest) < key_size[..., None]
        code = np.where(inside, key + 1, 0) @ (self.letters + 1) ** np.arange(self.longest)
        entry = np.take_along_axis(np.argmax(code[:, :, None] == code[:, None, :], axis=2), entry, 1)

        before, after = (np.take_along_axis(size, entry, 1) for size in (key_size, value_size))
        end = np.cumsum(before + after, axis=1)
        present = end <= length
        asked = _seen_before(entry, present)
        tokens, targets = np.full((batch, length), blank - 1), np.full((batch, length), NOT_ASKED)
        for letter in range(self.longest):
            row, slot = np.nonzero(present & (letter < before))
            place = (end - before - after)[row, slot] + letter
            tokens[row, place] = key[row, entry[row, slot], letter]
            row, slot = np.nonzero(present & (letter < after))
            place, right = (end - after)[row, slot] + letter, value[row, entry[row, slot], letter]
            tokens[row, place] = np.where(asked[row, slot], blank, right)
            targets[row, place - 1] = np.where(asked[row, slot], right, NOT_ASKED)
        return tokens, targets


@dataclass(frozen=True)
class SelectiveCopying:
    """Symbols among noise tokens, then a marker and blanks, at which the symbols are asked in their order; then noise.

    Tokens: symbols, noise, marker, blank.
    """

    name: ClassVar[str] = "selective_copying"
    symbols: int = 16
    copies: int = 16
    noise_tokens: int = 16

    @property
    def vocabulary(self) -> int:
        return self.symbols + self.noise_tokens + 2

    def batch(self, rng: np.random.Generator, batch: int, length: int, twins: bool = False) -> Batch:
        behind = max(1, length // 16)
        body = length - self.copies - behind
        _check_length(body, self.copies, f"what stands before the {self.copies} copies and {behind} tokens of noise")
        draws = _Draws(rng, batch, twins)
        tokens = self.symbols + rng.integers(self.noise_tokens, size=(batch, length))
        tokens[:, :body] = draws.rows(tokens[:, :body])
        if twins:  # the last token may not be the same by chance
            noise = tokens[::2, -1] - self.symbols + rng.integers(1, self.noise_tokens, size=batch // 2)
            tokens[1::2, -1] = self.symbols + noise % self.noise_tokens
        places = draws.rows(np.sort(np.argsort(rng.random((batch, body)), axis=1)[:, : self.copies], axis=1))
        symbols = draws.rows(rng.integers(self.symbols, size=(batch, self.copies)))
        np.put_along_axis(tokens, places, symbols, 1)
        tokens[:, body], tokens[:, body + 1 : body + self.copies] = self.vocabulary - 2, self.vocabulary - 1
        targets = np.full((batch, length), NOT_ASKED)
        targets[:, body : body + self.copies] = symbols
        return tokens, targets


@dataclass(frozen=True)
class Compression:
    """Random symbols and a marker, behind which place tokens ask for the symbol at that place.

    MAD has a decoder beside the model restore every symbol from the last state; a language model has none, so here the
    state behind the marker is asked place by place. Tokens: symbols, places, marker.
    """

    name: ClassVar[str] = "compression"
    symbols: int = 16
    places: int = 32

    @property
    def vocabulary(self) -> int:
        return self.symbols + self.places + 1

    def batch(self, rng: np.random.Generator, batch: int, length: int, twins: bool = False) -> Batch:
        _check_length(length, self.places + 3, f"{self.name} with {self.places} places")
        draws = _Draws(rng, batch, twins)
        symbols = draws.rows(rng.integers(self.symbols, size=(batch, self.places)))
        place = draws.slots(rng.integers(self.places, size=(batch, length - self.places - 1)))
        marker = np.full((batch, 1), self.vocabulary - 1)
        tokens = np.concatenate([symbols, marker, self.symbols + place], axis=1)
        targets = np.full((batch, length), NOT_ASKED)
        targets[:, self.places + 1 :] = np.take_along_axis(symbols, place, 1)
        return tokens, targets


TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Recall, Overwrite, Mqar, FuzzyRecall, SelectiveCopying, Compression)
}


def from_parameters(name: str, parameters: Mapping[str, Any]) -> Task:
    """The task with the options that the parameters NAME_OPTION give, say `recall_keys = 32`."""
    if name not in TASKS:
        raise ValueError(f"Expected a task among {', '.join(TASKS)}, but got {name!r}.")
    kind = TASKS[name]
    options = [option.name for option in fields(kind)]  # type: ignore[arg-type]
    return kind(**{option: parameters[f"{name}_{option}"] for option in options if f"{name}_{option}" in parameters})
