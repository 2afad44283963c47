"""Counted work: what is counted, what it grows with, and what it misses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")

sys.path[:0] = [str(Path(domains.__file__).parent / "linear_attention"), str(Path(__file__).parent)]
from checks.cost import WorkCounter, check_cost, work_of  # noqa: E402
from checks.finding import Failed  # noqa: E402
from checks.subject import Subject  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812


def test_a_matrix_product_counts_two_operations_for_each_multiplication():
    with WorkCounter() as counter:
        torch.ones(3, 5) @ torch.ones(5, 7)
    assert counter.flops == 2 * 3 * 5 * 7
    assert counter.elements == 15 + 35 + 15 + 35 + 21, "both are written, then read, and the product is written"


def test_views_move_nothing():
    x = torch.ones(4, 6)
    with WorkCounter() as counter:
        x.t()[1:].unsqueeze(0).expand(9, -1, -1)
    assert counter.operations > 0 and (counter.flops, counter.elements) == (0, 0)


def test_fused_attention_on_a_cpu_is_counted_like_its_two_products():
    q = torch.ones(1, 2, 128, 16)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION), WorkCounter() as counter:
        F.scaled_dot_product_attention(q, q, q, is_causal=True)
    assert counter.flops == 4 * 2 * 128 * 128 * 16


def test_work_under_the_counter_is_that_of_unfused_attention():
    q = torch.ones(1, 1, 64, 8)
    assert work_of(lambda: F.scaled_dot_product_attention(q, q, q)) > 64 * 64 * 4


class OfLength(nn.Module):
    """A linear layer, and `extra(x)` besides."""

    def __init__(self, extra) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.extra = extra

    def forward(self, x):
        return self.linear(x) + self.extra(x)


def exponent_of(extra) -> float:
    cost, _ = check_cost(Subject(lambda *_: OfLength(extra), 16, 2, 0))
    return cost.value


def test_what_is_linear_has_exponent_one():
    assert exponent_of(lambda x: x.cumsum(dim=1)) == pytest.approx(1.0, abs=0.01)


def test_a_tree_of_scales_passes():
    def doubling(x):
        step = 1
        while step < x.shape[1]:
            x = x + F.pad(x, (0, 0, step, 0))[:, : x.shape[1]]
            step *= 2
        return x

    assert 1.05 < exponent_of(doubling) < 1.3


@pytest.mark.parametrize(
    "extra",
    [
        lambda x: (x[:, :, :1] * x[:, :, 0].unsqueeze(1)).tril().sum(dim=-1, keepdim=True),
        lambda x: torch.stack([x[:, :end].sum(dim=1) for end in range(1, x.shape[1] + 1)], dim=1),
        lambda x: (x @ x.transpose(1, 2)).tril() @ x,
    ],
    ids=["table of pairs", "sum of every prefix", "product"],
)
def test_what_is_quadratic_is_refused_with_its_exponent(extra):
    with pytest.raises(Failed, match=r"grow as length\^(1\.[6-9]|2\.0)") as refused:
        exponent_of(extra)
    assert refused.value.check == "cost" and refused.value.value > 1.6


def test_a_quadratic_backward_alone_is_found():
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return (grad @ grad.transpose(1, 2)).tril() @ x

    with pytest.raises(Failed, match="FLOPs of forward and backward"):
        exponent_of(lambda x: Hidden.apply(x.requires_grad_()))
