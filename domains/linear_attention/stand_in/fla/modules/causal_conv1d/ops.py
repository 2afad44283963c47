"""Short causal convolutions, one filter a channel."""

# ruff: noqa: ARG001, ARG002 - arguments of kernels that change how and not what is computed

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fla.ops._attend import in_full_precision, only_known, only_none
from fla.ops._sequences import Sequences


def causal_conv1d(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool | None = False,
    activation: str | None = None,
    backend: str | None = "triton",
    cu_seqlens: torch.Tensor | None = None,
    cu_seqlens_cpu: torch.LongTensor | None = None,
    chunk_indices: torch.LongTensor | None = None,
    cp_context: Any | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """y_t = activation(bias + sum_i weight[:, i] x_{t - W + 1 + i}) + residual_t, with nothing before the start.

    x, residual: (batch, length, channels); weight: (channels, W); initial_state: (sequences, channels, W), the W inputs
    before the first, of which the last W - 1 count. Returns y and None or the last W inputs in the same form.
    """
    only_known("causal_conv1d", kwargs, "head_first")
    only_none("causal_conv1d", cp_context=cp_context, head_first=kwargs.get("head_first"))
    if weight is None or activation not in (None, "silu", "swish"):
        raise ValueError(f"Expected a weight and the activation silu, swish or None, but got {activation!r}.")
    sequences = None
    inputs = x
    if cu_seqlens is not None:
        sequences = Sequences(cu_seqlens, *x.shape[:2])
        inputs = sequences.apart(x)
    width = weight.shape[-1]
    if initial_state is None:
        padded = functional.pad(inputs, (0, 0, width - 1, 0))
    else:
        padded = torch.cat([initial_state[:, :, 1:].transpose(1, 2).to(x.dtype), inputs], 1)
    outputs = _filtered(padded, weight, bias)
    if sequences is not None:
        outputs = sequences.together(outputs)
    if activation is not None:
        outputs = functional.silu(outputs)
    if residual is not None:
        outputs = outputs + residual
    state = _last_inputs(inputs, initial_state, width, sequences) if output_final_state else None
    return outputs.to(x.dtype), state


def _filtered(padded: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """(batch, length + W - 1, channels) -> (batch, length, channels), in float32 at least."""
    precision = torch.promote_types(padded.dtype, torch.float32)
    with in_full_precision(padded.device.type):
        outputs = functional.conv1d(
            padded.to(precision).transpose(1, 2),
            weight.to(precision).unsqueeze(1),
            None if bias is None else bias.to(precision),
            groups=weight.shape[0],
        )
    return outputs.transpose(1, 2)


def _last_inputs(
    inputs: torch.Tensor, initial_state: torch.Tensor | None, width: int, sequences: Sequences | None
) -> torch.Tensor:
    """(sequences, channels, W): the last W inputs of each, those before the start where it is shorter."""
    count, _, channels = inputs.shape
    earlier = inputs.new_zeros(count, channels, width) if initial_state is None else initial_state.to(inputs.dtype)
    everything = torch.cat([earlier.transpose(1, 2), inputs], 1)
    if sequences is None:
        return everything[:, -width:].transpose(1, 2)
    ends = torch.bincount(sequences.row, minlength=count).to(inputs.device)
    at = ends.unsqueeze(1) + torch.arange(width, device=inputs.device)
    return everything.gather(1, at.unsqueeze(-1).expand(-1, -1, channels)).transpose(1, 2)


def causal_conv1d_update(
    x: torch.Tensor,
    cache: torch.Tensor,
    residual: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    activation: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token a sequence; writes the new last inputs into `cache` (sequences, channels, W)."""
    shape = x.shape
    tokens = x.reshape(cache.shape[0], 1, cache.shape[1])
    if residual is not None:
        residual = residual.reshape(tokens.shape)
    outputs, state = causal_conv1d(tokens, weight, bias, residual, cache, True, activation)
    assert state is not None
    cache.copy_(state)
    return outputs.reshape(shape), cache


class ShortConvolution(nn.Conv1d):
    """A causal convolution with one filter of `kernel_size` a channel, and silu unless activation=None."""

    def __init__(
        self,
        hidden_size: int,
        kernel_size: int,
        bias: bool = False,
        activation: str | None = "silu",
        backend: str | None = "triton",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        only_known("ShortConvolution", kwargs, "use_fast_conv1d")
        super().__init__(
            hidden_size,
            hidden_size,
            kernel_size,
            groups=hidden_size,
            bias=bias,
            padding=kernel_size - 1,
            device=device,
            dtype=dtype,
        )
        if activation not in (None, "silu", "swish"):
            raise ValueError(f"Expected the activation silu, swish or None, but got {activation!r}.")
        if "use_fast_conv1d" in kwargs:
            warnings.warn("`use_fast_conv1d` is deprecated and changes nothing.", stacklevel=2)
        self.hidden_size = hidden_size
        self.activation = activation
        self.backend = backend

    def forward(  # type: ignore[override]
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        cache: torch.Tensor | None = None,
        output_final_state: bool = False,
        cu_seqlens: torch.LongTensor | None = None,
        chunk_indices: torch.LongTensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """x, residual: (batch, length, channels); mask: (batch, length); cache: (sequences, channels, W).

        Returns outputs and None or the cache for what follows; unlike flash-linear-attention it never writes into
        `cache`.
        """
        only_known("ShortConvolution", kwargs)
        if mask is not None:
            if cu_seqlens is not None:
                raise ValueError("`mask` and `cu_seqlens` cannot be provided at the same time")
            x = x * mask.unsqueeze(-1).to(x.dtype)
        return causal_conv1d(
            x,
            self.weight.squeeze(1),
            self.bias,
            residual,
            cache,
            output_final_state,
            self.activation,
            cu_seqlens=cu_seqlens,
        )

    def step(
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        cache: torch.Tensor | None,
        output_final_state: bool = False,
        cu_seqlens: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One token a sequence, (batch, 1, channels), or (1, sequences, channels) with cu_seqlens."""
        return self.forward(x, residual, None, cache, output_final_state, cu_seqlens)

    @property
    def state_size(self) -> int:
        return self.hidden_size * self.kernel_size[0]
