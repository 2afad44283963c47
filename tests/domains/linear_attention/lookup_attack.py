"""An attack on the byte questions: find the file that a segment was made of, and use what stood in place of the words.

It knows the standard library, the word counts, the skeleton of each segment and the drawn words in it. From the file it
learns which earlier word of the segment was the same as the asked one, and says that word's next letter.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
from tasks import corpus
from tasks.questions import Questions

Slots = tuple[list[bytes], list[bytes]]


def split(text: bytes) -> Slots:
    """(pieces of skeleton, words between them): pieces[i] stands before words[i]."""
    pieces, words, done = [], [], 0
    for match in corpus._WORD.finditer(text):
        if match.group() not in corpus._KEPT:
            pieces.append(text[done : match.start()])
            words.append(match.group())
            done = match.end()
    return [*pieces, text[done:]], words


class FileIndex:
    """Where in the files three pieces of skeleton follow each other."""

    def __init__(self, documents: list[bytes]) -> None:
        self.documents = [split(document) for document in documents]
        self.places: dict[tuple[bytes, ...], list[tuple[int, int]]] = defaultdict(list)
        for number, (pieces, words) in enumerate(self.documents):
            for slot in range(2, len(words)):
                self.places[tuple(pieces[slot - 2 : slot + 1])].append((number, slot))

    def find(self, pieces: list[bytes]) -> tuple[int, int] | None:
        """Document and slot behind the last piece, where the most pieces agree, going backwards."""
        best, longest = None, 0
        for number, slot in self.places.get(tuple(pieces[-3:]), []):
            there = self.documents[number][0]
            agree = 0
            while agree < min(len(pieces) - 1, slot) and pieces[-1 - agree] == there[slot - agree]:
                agree += 1
            if agree > longest:
                best, longest = (number, slot), agree
        return best


class Asked:
    """One question: what stands before it, and the letter that is right."""

    def __init__(self, segment: bytes, answer: int) -> None:
        start = len(segment)
        while start and (segment[start - 1 : start].isalnum() or segment[start - 1] == ord("_")):
            start -= 1
        self.prefix, self.answer = segment[start:], answer
        self.pieces, self.earlier = split(segment[:start])


def asked(questions: Questions) -> Iterator[Asked]:
    """All questions that count."""
    for row, question in zip(*np.nonzero(questions.weights), strict=True):
        end = questions.positions[row, question] + 1
        start = questions.positions[row, question - 1] + 1 if question else 0
        segment = bytes(questions.tokens[row, start:end].astype(np.uint8))
        yield Asked(segment, int(questions.labels[row, question]))


def gain(questions: Questions, words: corpus.Words, counts: Counter[bytes], files: list[bytes]) -> tuple[float, int]:
    """(nats that the files save, questions whose file was found).

    Without the files: a mixture of the words so far and of all words, with the share that turns out best. With them:
    where a word is linked, a part of the probability goes to its letter, and where the file says that the word is a new
    one, the mixture has another share; again whatever turns out best.
    """
    index = FileIndex(files)
    rows, found = [], 0
    for one in asked(questions):
        size = len(one.prefix)
        recent = Counter(word[size] for word in one.earlier if word.startswith(one.prefix) and len(word) > size)
        anywhere: Counter[int] = Counter()
        start = bisect_left(words.words, one.prefix)
        for word in words.words[start : bisect_left(words.words, one.prefix + b"\xff", start)]:
            if len(word) > size:
                anywhere[word[size]] += counts[word]
        linked = None
        place = index.find(one.pieces)
        if place is not None:
            found += 1
            linked = linked_letter(one, index, *place)
        rows.append(
            (
                recent[one.answer] / recent.total() if recent else None,
                (anywhere[one.answer] + 0.01) / (anywhere.total() + 2.56),
                "unknown" if place is None else "fresh" if linked is None else "linked",
                float(linked == one.answer),
            )
        )

    def loss(kind: str, share: float, trust: float = 0.0) -> float:
        """Sum over the questions of a kind."""
        total = 0.0
        for recent, anywhere, known, right in rows:
            if kind in ("any", known):
                chance = anywhere if recent is None else share * recent + (1 - share) * anywhere
                total -= math.log(trust * right + (1 - trust) * chance if kind == "linked" else chance)
        return total

    shares, trusts = [0.1 * step for step in range(10)], (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
    without = min(loss("any", share) for share in shares)
    share = min(shares, key=lambda share: loss("any", share))
    fresh = min(loss("fresh", share) for share in shares)
    linked = min(loss("linked", share, trust) for share in shares for trust in trusts)
    return (without - fresh - linked - loss("unknown", share)) / len(rows), found


def linked_letter(one: Asked, index: FileIndex, number: int, slot: int) -> int | None:
    """The next letter of the latest earlier word that was the asked one in the file."""
    original, size = index.documents[number][1], len(one.prefix)
    for back in range(1, min(len(one.earlier), slot) + 1):
        word = one.earlier[-back]
        if original[slot - back] == original[slot] and word.startswith(one.prefix) and len(word) > size:
            return word[size]
    return None
