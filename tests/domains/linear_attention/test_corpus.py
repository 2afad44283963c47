"""The corpus: text that needs no download, and that nobody solves by looking its files up."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from asi_evolve import domains
from hypothesis import given, settings
from hypothesis import strategies as st

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path[:0] = [str(FOLDER), str(Path(__file__).parent)]

from lookup_attack import gain, split  # noqa: E402
from tasks import corpus, questions  # noqa: E402

WORDS = corpus.Words([b"alpha beta beta gamma_1 delta delta delta return while"])


@pytest.fixture(scope="module")
def library() -> tuple[list[bytes], list[bytes]]:
    return corpus.standard_library(500_000, 200_000)


def test_the_split_goes_by_the_hash_of_a_file(library):
    train, held_out = library
    assert 400_000 < sum(map(len, train)) < 700_000
    assert 150_000 < sum(map(len, held_out)) < 400_000
    assert all(corpus.is_held_out(document) for document in held_out)
    assert not any(corpus.is_held_out(document) for document in train)
    assert corpus.standard_library(500_000, 200_000) == library


def test_about_one_document_in_twenty_is_held_out():
    share = np.mean([corpus.is_held_out(b"document %d" % number) for number in range(20_000)])
    assert share == pytest.approx(0.05, abs=0.01)


def test_keywords_builtins_and_all_that_is_no_word_stay():
    document = b"def frobnicate(self, x1):\n    return len(quux) + 0x1f  # the end, ab\n"
    text, askable = corpus.rewrite(document, WORDS, np.random.default_rng(0))
    before, after = split(document), split(text)
    assert before[0] == after[0]
    assert before[1] == [b"frobnicate", b"quux", b"the", b"end"]
    assert set(after[1]) <= set(WORDS.words) == {b"alpha", b"beta", b"gamma_1", b"delta"}
    assert sorted(text[place] for place in askable) == sorted(b"".join(word[1:] for word in after[1]))


def test_the_places_that_may_be_asked_are_found_again_in_the_text(library):
    text = corpus.rewritten(library[1], corpus.Words(library[0]), np.random.default_rng(0))
    assert np.array_equal(corpus.places_in_words(text.tokens), text.askable)


names = st.sampled_from([b"aaa", b"bbb", b"ccc", b"dddd", b"eeeee", b"a_b_c"])
skeletons = st.sampled_from([b" ", b"\n", b"(", b"return ", b" = ", b" len(", b" x ", b"1.5 "])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(skeletons, names, names), max_size=30), st.integers(0, 2**32))
def test_what_stood_in_place_of_the_words_changes_nothing(parts, seed):
    """So whatever a candidate can look up of the words is of no use: the drawn ones do not depend on them."""
    one = b"".join(skeleton + word + b" " for skeleton, word, _ in parts)
    other = b"".join(skeleton + word + b" " for skeleton, _, word in parts)
    first = corpus.rewrite(one, WORDS, np.random.default_rng(seed))
    assert first == corpus.rewrite(other, WORDS, np.random.default_rng(seed))


def test_looking_up_the_files_gains_nothing(library):
    train, held_out = library
    words, counts = corpus.Words(train), Counter(word for document in train for word in split(document)[1])
    rng = np.random.default_rng(5)

    def renamed(document: bytes) -> tuple[bytes, list[int]]:
        """One new word for each word: what the corpus does not do."""
        pieces, old = split(document)
        new = dict(zip(dict.fromkeys(old), words.draw(rng, len(old)), strict=False))
        text, askable = b"", []
        for piece, word in zip(pieces, old, strict=False):
            text += piece + new[word]
            askable += range(len(text) - len(new[word]) + 1, len(text))
        return text + pieces[-1], askable

    one_to_one, askable = renamed(b"\n".join(held_out))
    ask = {"rows": 1024, "length": 256, "questions": 2, "word_start": True}
    naive = questions.of_text(rng, np.frombuffer(one_to_one, np.uint8), np.asarray(askable), **ask)
    text = corpus.rewritten(held_out, words, rng)
    ours = questions.of_text(rng, text.tokens, text.askable, **ask)

    # The attack is a good one: it finds the files, and where words are renamed one to one it knows which come again.
    saved, found = gain(naive, words, counts, held_out)
    assert found > 0.8 * naive.weights.sum()
    assert saved > 0.04
    # Against the corpus it finds the files as well, and they say nothing.
    saved, found = gain(ours, words, counts, held_out)
    assert found > 0.8 * ours.weights.sum()
    assert saved < 0.01


def test_words_come_again_as_a_memory_can_use():
    """Without any word coming again the text would ask for no memory at all."""
    many = corpus.Words([b" ".join(b"word%d" % number for number in range(5000))])
    text, _ = corpus.rewrite(b"xyz " * 4000, many, np.random.default_rng(0))
    words = text.split()
    recent = [word in words[max(0, place - 16) : place] for place, word in enumerate(words)]
    assert 0.4 < np.mean(recent) < 0.9


def test_text_of_the_user_is_left_as_it_is_and_asked_anywhere(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"one text")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "two"}) + "\n\n" + json.dumps({"text": "dr\u00e9i"}) + "\n")
    (tmp_path / "c.md").write_text("not taken")
    documents = list(corpus.text_documents(corpus.text_files(tmp_path)))
    assert documents == [b"two", "dr\u00e9i".encode(), b"one text"]
    text = corpus.as_it_is(documents)
    assert bytes(text.tokens) == b"two\0dr\xc3\xa9i\0one text"
    assert text.askable.tolist() == list(range(1, len(text.tokens)))
    assert list(corpus.text_documents(corpus.text_files(tmp_path), limit=3)) == [b"two"]


@pytest.mark.parametrize("line", ["not json", "[1]", '{"text": 3}', "{}"])
def test_a_line_without_text_is_refused_with_its_place(tmp_path, line):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"a\.jsonl:2"):
        list(corpus.text_documents([tmp_path / "a.jsonl"]))
