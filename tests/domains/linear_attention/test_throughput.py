"""Utilisation: FLOPs that are counted, peaks that are known, and nothing guessed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(domains.__file__).parent / "linear_attention"))

from torch import nn  # noqa: E402
from training import throughput  # noqa: E402


class Attention(nn.Module):
    """Projections, and matrix products of tokens with tokens."""

    def __init__(self, width):
        super().__init__()
        self.down = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, width, bias=False)

    def forward(self, x):
        keys = self.down(x)
        return self.up((x @ keys.transpose(1, 2)) @ x)


def test_the_state_is_what_a_mixer_takes_beyond_its_parameters():
    width, length = 16, 32
    per_mixer = 2 * (2 * length * width)  # two products of (length, width) with (width, length), per token
    assert throughput.state_flops_per_token([Attention(width)] * 3, width, length) == 3 * per_mixer
    assert throughput.state_flops_per_token([nn.Linear(width, width, bias=False)], width, length) == 0.0
    assert throughput.state_flops_per_token([nn.Identity()], width, length) == 0.0


def test_a_token_costs_six_flops_per_multiplied_parameter_and_three_times_the_state():
    assert throughput.flops_per_token(1_000_000, 250_000, 0.0) == 4_500_000
    assert throughput.flops_per_token(1_000_000, 250_000, 1000.0) == 4_503_000


def test_what_pytorch_counts_for_a_training_step_is_that_figure():
    from torch.utils.flop_counter import FlopCounterMode

    width, length = 16, 32
    model = nn.Sequential(nn.Embedding(50, width), Attention(width), nn.Linear(width, 50, bias=False))
    parameters = sum(p.numel() for p in model.parameters())
    expected = throughput.flops_per_token(
        parameters, 50 * width, throughput.state_flops_per_token([model[1]], width, length)
    )
    with FlopCounterMode(display=False) as counted:
        model(torch.zeros(1, length, dtype=torch.int64)).sum().backward()
    assert counted.get_total_flops() / length == expected


def test_only_known_devices_in_bf16_have_a_peak():
    assert throughput.peak_flops("NVIDIA H200", "bf16") == 989.4e12
    assert throughput.peak_flops("NVIDIA H200", "bf16", 8) == 8 * 989.4e12
    for name, precision in (("NVIDIA H200", "fp32"), ("NVIDIA H200 MIG 1g.18gb", "bf16"), ("cpu", "bf16")):
        assert throughput.peak_flops(name, precision) is None


def test_utilisation_is_unknown_where_a_part_of_it_is():
    assert throughput.utilisation(1000.0, 2e9, 1e13) == pytest.approx(0.2)
    assert throughput.utilisation(1000.0, 2e9, None) is None
    assert throughput.utilisation(None, 2e9, 1e13) is None
