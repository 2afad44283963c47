"""What reaches what: memory, gradients, lengths."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")

sys.path[:0] = [str(Path(domains.__file__).parent / "linear_attention"), str(Path(__file__).parent)]
import numpy as np  # noqa: E402
from checks.finding import Failed  # noqa: E402
from checks.memory import LENGTH, check_gradients, check_lengths, check_memory, reach_of  # noqa: E402
from checks.subject import Subject  # noqa: E402
from programs import BASELINE  # noqa: E402
from torch import nn  # noqa: E402


class Weighted(nn.Module):
    """A weighted sum over the past: weights(distance) of a token that lies so far back."""

    def __init__(self, weights) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.weights = weights

    def forward(self, x):
        steps = torch.arange(x.shape[1], device=x.device)
        distance = (steps[:, None] - steps).clamp(min=0)
        table = self.weights(distance.float()).tril()
        return torch.einsum("ij,bjd->bid", table, self.linear(x))


def subject(weights) -> Subject:
    return Subject(lambda *_: Weighted(weights), 16, 2, 0)


def test_a_memory_over_the_whole_length_passes():
    finding = check_memory(subject(lambda distance: 0.99**distance))
    assert finding.verdict == "passed" and finding.value == LENGTH


def test_a_window_is_refused_with_its_size():
    with pytest.raises(Failed, match="no gradient reaches further back than 64 tokens") as refused:
        check_memory(subject(lambda distance: (distance < 64).float()))
    assert (refused.value.check, refused.value.value) == ("memory", 64)


def test_a_memory_that_fades_below_the_smallest_number_is_a_warning():
    finding = check_memory(subject(lambda distance: 0.5**distance))
    assert finding.verdict == "warning" and 100 < finding.value < LENGTH


def test_nothing_at_all_reaches_nowhere():
    assert reach_of(np.zeros(8)) == 0
    assert reach_of(np.array([0.0, 0, 0, 1, 1])) == 2
    with pytest.raises(Failed, match="further back than 1 tokens"):
        check_memory(subject(lambda distance: (distance == 0).float()))


def test_deltanet_trains_all_of_its_parameters():
    finite, unused = check_gradients(Subject(BASELINE, 32, 2, 0))
    assert (finite.verdict, unused.verdict, unused.value) == ("passed", "passed", 0.0)


def test_an_output_that_is_not_finite_at_one_length_is_refused():
    def weights(distance):
        return distance / (0.0 if len(distance) == 65 else 1.0)

    with pytest.raises(Failed, match="some at length 65 are not") as refused:
        check_lengths(subject(weights))
    assert refused.value.check == "finite"
