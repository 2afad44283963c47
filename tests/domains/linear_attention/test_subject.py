"""Fresh copies of a mixer: the same every time, whatever it keeps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")

sys.path[:0] = [str(Path(domains.__file__).parent / "linear_attention"), str(Path(__file__).parent)]
import numpy as np  # noqa: E402
from checks.every_check import check_trained  # noqa: E402
from checks.finding import Failed, attempt, words_of  # noqa: E402
from checks.subject import Condition, Subject, difference, find_precision  # noqa: E402
from programs import program  # noqa: E402
from skeleton import checkpoint  # noqa: E402
from torch import nn  # noqa: E402


def test_two_fresh_mixers_answer_alike_in_every_condition():
    subject = Subject(program("honest/dropout"), 16, 2, 3)
    for condition in (Condition(), Condition(noisy=True), Condition(training=True)):
        x = subject.inputs(2, 9, condition)
        assert np.array_equal(subject.fresh_answer(x, condition), subject.fresh_answer(x, condition))
    noisy = subject.fresh_answer(x, Condition(noisy=True))
    assert difference(noisy, subject.fresh_answer(x, Condition())) > 0.01


def test_weights_that_no_seed_reaches_are_the_same_in_all_copies():
    source = np.random.default_rng()

    def make(*_):
        layer = nn.Linear(8, 8)
        layer.weight.data = torch.from_numpy(source.standard_normal((8, 8)).astype("float32"))
        return layer

    subject = Subject(make, 8, 1, 0)
    assert torch.equal(subject.fresh().weight, subject.fresh().weight)


def test_a_trained_mixer_is_copied_with_its_counter():
    make = program("honest/step_counter")
    trained = make(16, 2, 0)
    for _ in range(5):
        trained(torch.zeros(1, 4, 16))
    copy = Subject(make, 16, 2, 0, trained=trained).fresh()
    assert copy.mixer.calls == 5 and copy.mixer.steps == 6
    assert torch.equal(copy.mixer.qkv.weight, trained.mixer.qkv.weight)


@pytest.mark.parametrize("name", ["cached_positions", "growing_tables"])
def test_a_trained_mixer_is_copied_with_its_tables(name):
    make = program(f"honest/{name}")
    trained = make(16, 2, 0)
    x = torch.randn(2, 40, 16)
    expected = trained(x)
    subject = Subject(make, 16, 2, 0, trained=trained)
    assert torch.equal(subject.fresh()(x), expected)
    (found,) = check_trained(make, [trained], width=16, heads=2, seed=0, precision="fp32")
    assert found.verdict == "passed", found.sentence


def test_a_checkpoint_brings_tables_that_were_built_in_a_forward(tmp_path):
    built = checkpoint.Built(16, 2, 2, 32, "fp32")
    make = program("honest/growing_tables")
    model = built.model(11, make)
    model.blocks[0].mixer.mixer.annealed = torch.tensor(0.25)
    tokens = torch.randint(11, (2, 40))
    expected = model(tokens)
    checkpoint.save(tmp_path / "one.pt", model)
    fresh = built.model(11, make)
    checkpoint.restore(tmp_path / "one.pt", fresh)
    assert torch.equal(fresh(tokens), expected)
    assert fresh.blocks[0].mixer.mixer.annealed == 0.25


def test_a_lazy_module_is_refused_in_a_sentence():
    with pytest.raises(Failed, match="every parameter to have its shape, but weight has none"):
        Subject(lambda *_: nn.LazyLinear(8), 8, 1, 0)


def test_a_mixer_that_works_in_place_leaves_the_input_alone():
    subject = Subject(program("honest/in_place"), 16, 2, 0)
    x = subject.inputs(1, 8)
    before = x.clone()
    subject.fresh_answer(x, Condition())
    assert torch.equal(x, before)


def test_fp32_is_tried_first_and_bf16_where_it_raises():
    assert find_precision(program("honest/dropout"), 16, 2, 0) == "fp32"
    bf16 = program("honest/bf16_only")
    assert find_precision(bf16, 16, 2, 0) == "bf16"
    assert find_precision(program("honest/dropout"), 16, 2, 0, precision="bf16") == "bf16"
    with pytest.raises(Failed, match="a forward pass over"):
        find_precision(bf16, 16, 2, 0, precision="fp32")


def test_where_neither_runs_the_words_of_fp32_are_told():
    class Neither(nn.Linear):
        def forward(self, x):
            raise ValueError("bf16" if torch.is_autocast_enabled("cpu") else "in fp32")

    with pytest.raises(Failed, match="ValueError: in fp32"):
        find_precision(lambda *_: Neither(8, 8), 8, 1, 0)


def test_differences_are_relative_and_leave_out_what_is_not_finite():
    a = np.array([1.0, 200.0, np.nan], dtype=np.float32)
    b = np.array([2.0, 200.0, 5.0], dtype=np.float32)
    assert difference(a, b) == 1 / 200
    assert difference(a * np.nan, b) == 0.0
    assert difference(b * 0, b * 0) == 0.0


def test_an_exception_that_cannot_be_printed_is_named_all_the_same():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def leave():
        raise Mute

    assert words_of(Mute()) == "Mute"
    with pytest.raises(Failed, match="Expected a call, but got Mute"):
        attempt("shape", "a call", leave)
