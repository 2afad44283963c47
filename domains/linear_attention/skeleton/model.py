"""The skeleton that every mixer is judged in: a small language model of which only the mixer differs.

Pre-norm residual blocks: RMSNorm, the same short depthwise causal convolution for every mixer (so that none wins by
having one: convolutions without any state do well on small byte LMs), the mixer, then RMSNorm and a SwiGLU MLP (arXiv
2002.05202). No position encoding: a mixer that wants one brings it. This is no transformer recipe of record; it is
small and fixed.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from skeleton.mixers import Maker, Refused

CONV_SIZE = 4
"""Tokens that the short convolution sees, its own among them."""

WITHIN = 0.10
"""A block may differ by this share from the baseline's in parameters; beyond, the MLP makes up for it."""

SMALLEST_MLP = 8
"""Narrower MLPs are none."""


class ShortConvolution(nn.Module):
    """Depthwise causal convolution over time with a residual path, so that a mixer can also see the token alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, 1, CONV_SIZE) / math.sqrt(CONV_SIZE))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) -> the same."""
        mixed = F.conv1d(F.pad(x.transpose(1, 2), (CONV_SIZE - 1, 0)), self.weight, groups=x.shape[-1])
        return x + F.silu(mixed).transpose(1, 2)


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)), arXiv 2002.05202, eq. 6."""

    def __init__(self, width: int, mlp_width: int) -> None:
        super().__init__()
        self.gate_and_up = nn.Linear(width, 2 * mlp_width, bias=False)
        self.down = nn.Linear(mlp_width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) -> the same."""
        gate, up = self.gate_and_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """x + mixer(convolution(norm(x))), then x + mlp(norm(x))."""

    def __init__(self, width: int, mixer: nn.Module, mlp_width: int) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(width, eps=1e-5)
        self.convolution = ShortConvolution(width)
        self.mixer = mixer
        self.mlp_norm = nn.RMSNorm(width, eps=1e-5)
        self.mlp = SwiGLU(width, mlp_width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) -> the same."""
        x = x + self.mixer(self.convolution(self.mixer_norm(x)))
        return x + self.mlp(self.mlp_norm(x))


class LanguageModel(nn.Module):
    """Tokens -> logits of what stands at each position, with a mixer from `make` in every block."""

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, make: Maker, mlp_width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, make(width, heads, index), mlp_width) for index in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self._initialise()

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) int64 -> (batch, length, vocabulary) float32."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).float()

    def auxiliary_loss(self) -> Tensor:
        """Sum of what the mixers added to the loss in the latest forward; zero where none did."""
        losses = [getattr(block.mixer, "auxiliary_loss", None) for block in self.blocks]
        return sum((loss for loss in losses if loss is not None), start=self.norm.weight.new_zeros(()))

    def _initialise(self) -> None:
        """Embeddings small and the rest as PyTorch does it. A mixer's own initialisation is part of the candidate."""
        nn.init.normal_(self.embedding.weight, std=0.02)


def parameters_of(module: nn.Module) -> int:
    """Trainable numbers, each counted once."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def mixer_parameters(make: Maker, width: int, heads: int, layers: int) -> int:
    """Trainable numbers of a block's mixer, on average over the layers: they may differ by their index."""
    return round(sum(parameters_of(make(width, heads, layer)) for layer in range(layers)) / layers)


def matched_mlp_width(mixer_parameters: int, baseline_mixer_parameters: int, width: int, mlp_width: int) -> int:
    """The MLP width that gives a block with this mixer the size of a block with the baseline's mixer.

    Unchanged while the blocks are within 10 % of each other. Raises Refused where the mixer leaves no room for an MLP.
    """
    budget = baseline_mixer_parameters + 3 * width * mlp_width
    if abs(mixer_parameters + 3 * width * mlp_width - budget) <= WITHIN * budget:
        return mlp_width
    matched = round((budget - mixer_parameters) / (3 * width))
    if matched < SMALLEST_MLP:
        raise Refused(
            "parameters",
            f"Expected a mixer with at most {budget - 3 * width * SMALLEST_MLP:,} parameters at width {width}, "
            f"but got {mixer_parameters:,}. Make it smaller: a block may be no larger than one with DeltaNet.",
        )
    return matched
