"""Batches of token files: every window once an epoch, none twice in a step, the same wherever a run goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from asi_evolve import domains
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(domains.__file__).parent / "linear_attention"))

from tasks import token_file
from training.token_batches import token_batches


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 40), st.integers(0, 99))
def test_an_epoch_takes_each_window_once_and_processes_share_it_out(length, share, processes, spare, seed):
    batch = share * processes
    tokens = np.arange(batch * 3 * length + spare + 1, dtype=np.uint16)
    windows = (len(tokens) - 1) // length
    each = [
        token_batches(tokens, batch=batch, length=length, seed=seed, rank=rank, processes=processes)
        for rank in range(processes)
    ]
    whole = token_batches(tokens, batch=batch, length=length, seed=seed)
    steps = windows // batch
    seen = []
    for step in range(1, steps + 1):
        rows, targets = whole(step)
        assert rows.shape == targets.shape == (batch, length)
        assert rows.dtype == targets.dtype == np.int64
        assert (targets == rows + 1).all()
        assert (np.concatenate([mine(step)[0] for mine in each]) == rows).all()
        seen += rows[:, 0].tolist()
    assert len(set(seen)) == len(seen) == steps * batch
    assert all(start % length == 0 for start in seen)
    again = token_batches(tokens, batch=batch, length=length, seed=seed)
    assert (again(steps)[0] == whole(steps)[0]).all()
    second = [whole(steps + step)[0][:, 0].tolist() for step in range(1, steps + 1)]
    assert len({start for row in second for start in row}) == steps * batch


def test_epochs_and_seeds_have_orders_of_their_own():
    tokens = np.arange(4001, dtype=np.uint16)
    orders = []
    for seed, first in ((0, 1), (0, 101), (1, 1)):
        batches = token_batches(tokens, batch=4, length=10, seed=seed)
        orders.append([start for step in range(100) for start in batches(first + step)[0][:, 0].tolist()])
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize("vocabulary", [300, 100_000])
def test_a_file_is_read_as_a_memory_map(tmp_path, vocabulary):
    tokens = np.random.default_rng(0).integers(vocabulary, size=5000)
    writer = token_file.Writer(tmp_path, vocabulary)
    writer.add(tokens[:1234])
    writer.add(tokens[1234:])
    writer.finish(text_bytes=20_000, documents=1, tokenizer="none")
    found = token_file.read(tmp_path)
    assert isinstance(found.tokens, np.memmap)
    rows, targets = token_batches(found.tokens, batch=8, length=16, seed=3)(5)
    for row, target in zip(rows, targets, strict=True):
        (start,) = [at for at in range(0, 4992, 16) if (tokens[at : at + 16] == row).all()]
        assert (tokens[start + 1 : start + 17] == target).all()


def test_what_cannot_be_shared_out_is_refused():
    with pytest.raises(ValueError, match=r"Expected at least 81 tokens .* but got 80"):
        token_batches(np.zeros(80, dtype=np.uint16), batch=8, length=10, seed=0)
    with pytest.raises(ValueError, match="3 processes"):
        token_batches(np.zeros(81, dtype=np.uint16), batch=8, length=10, seed=0, processes=3)
