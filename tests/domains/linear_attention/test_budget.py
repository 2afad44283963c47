"""What a mixer may take: time beside the baseline, and parameters."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")

sys.path[:0] = [str(Path(domains.__file__).parent / "linear_attention"), str(Path(__file__).parent)]
import threading  # noqa: E402
import time  # noqa: E402

from checks.budget import at_most, check_parameters, check_speed  # noqa: E402
from checks.finding import Failed  # noqa: E402
from checks.subject import Subject  # noqa: E402
from checks.yardstick import Yardstick  # noqa: E402
from torch import nn  # noqa: E402


def test_a_loop_without_end_is_ended():
    with pytest.raises(Failed, match=r"Expected a call within 0\.2 CPU seconds"), at_most(0.2, "a call"):
        while True:
            pass


def test_a_bound_leaves_no_timer_behind():
    with at_most(0.05, "a call"):
        pass
    begun = time.process_time()
    while time.process_time() - begun < 0.2:
        pass


def test_beside_the_main_thread_nothing_is_bounded():
    done = []

    def work():
        with at_most(0.0001, "a call"):
            done.append(sum(range(10**6)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [499999500000]


class Repeated(Yardstick):
    times = 40

    def forward(self, x):
        return sum(Yardstick.forward(self, x) for _ in range(self.times)) / self.times


def test_the_bound_on_speed_is_a_setting():
    reference, slow = (Subject(make, 32, 2, 0) for make in (Yardstick, Repeated))
    finding = check_speed(slow, reference, slowest=10_000)
    assert finding.verdict == "passed" and finding.value > 5
    with pytest.raises(Failed, match="at most 2 times the baseline's CPU seconds") as refused:
        check_speed(slow, reference, slowest=2)
    assert refused.value.check == "speed" and refused.value.value > 5


def wide(inner: int):
    def make(hidden_size, num_heads, layer_idx):
        return nn.Sequential(nn.Linear(hidden_size, inner, bias=False), nn.Linear(inner, hidden_size, bias=False))

    return make


@pytest.mark.parametrize(
    ("inner", "verdict", "words"),
    [(64, "passed", "1.00 times"), (80, "warning", "nothing is rescaled"), (128, "warning", "instead of 64")],
)
def test_more_parameters_are_told_with_their_ratio(inner, verdict, words):
    finding = check_parameters(wide(inner), wide(64), 32, 2, 64)
    assert finding.verdict == verdict and words in finding.sentence
    assert finding.value == pytest.approx(inner / 64)


def test_a_mixer_larger_than_the_whole_block_is_refused():
    with pytest.raises(Failed, match="at most") as refused:
        check_parameters(wide(400), wide(64), 32, 2, 64)
    assert (refused.value.check, refused.value.value) == ("parameters", 6.25)
