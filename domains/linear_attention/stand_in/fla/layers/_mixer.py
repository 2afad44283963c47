"""What the layers have in common: projections, short convolutions, padding and cache around one operator."""

# ruff: noqa: ARG002 - arguments that layers of flash-linear-attention take and that change nothing here

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fla.layers.utils import get_layer_cache, repad_hidden_states, unpad_hidden_states, update_layer_cache
from fla.modules import FusedRMSNormGated, RMSNorm, ShortConvolution
from fla.modules.activations import ACT2FN

Answer = tuple[Tensor, Tensor | None, Any]


class Mixer(nn.Module):
    """A layer of q, k and v projections around `mix`, which each layer has its own of."""

    mode: str
    layer_idx: int | None
    use_short_conv: bool
    o_proj: nn.Linear
    silu_without_convolution = False

    def check(self, mode: str, modes: tuple[str, ...]) -> None:
        if mode not in modes:
            raise ValueError(f"Expected the mode {' or '.join(modes)}, but got {mode}.")
        self.mode = mode

    def project(self, hidden_size: int, widths: tuple[int, int, int]) -> None:
        """The projections to q, k and v."""
        q, k, v = widths
        self.q_proj = nn.Linear(hidden_size, q, bias=False)
        self.k_proj = nn.Linear(hidden_size, k, bias=False)
        self.v_proj = nn.Linear(hidden_size, v, bias=False)

    def convolve(self, size: int, bias: bool, qk_activation: str | None = "silu") -> None:
        """A short convolution behind each projection."""
        q, k, v = (layer.out_features for layer in (self.q_proj, self.k_proj, self.v_proj))
        self.q_conv1d = ShortConvolution(q, size, bias, qk_activation)
        self.k_conv1d = ShortConvolution(k, size, bias, qk_activation)
        self.v_conv1d = ShortConvolution(v, size, bias, "silu")

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any | None = None,
        use_cache: bool | None = False,
        output_attentions: bool | None = False,
        **kwargs: Any,
    ) -> Answer:
        """hidden_states: (batch, length, hidden_size); attention_mask: (batch, length) of 0 and 1 for padding.

        Returns outputs of the shape of hidden_states, None and past_key_values, which then holds the new states.
        """
        batch, length, _ = hidden_states.shape
        last = get_layer_cache(self, past_key_values)
        hidden_states, indices, cu_seqlens = unpad_hidden_states(
            hidden_states, kwargs.get("cu_seqlens"), attention_mask, length
        )
        q, k, v, conv_state = self._projected(hidden_states, last, bool(use_cache), cu_seqlens)
        common = {
            "initial_state": None if last is None else last["recurrent_state"],
            "output_final_state": bool(use_cache),
            "cu_seqlens": cu_seqlens,
        }
        seen = 0 if past_key_values is None else past_key_values.get_seq_length(self.layer_idx)
        outputs, state = self.mix(hidden_states, q, k, v, common, seen)
        update_layer_cache(self, past_key_values, recurrent_state=state, conv_state=conv_state, offset=length)
        outputs = self.o_proj(self.normed(outputs, hidden_states).flatten(-2))
        return repad_hidden_states(outputs, indices, batch, length), None, past_key_values

    def _projected(
        self, hidden_states: Tensor, last: dict[str, Any] | None, use_cache: bool, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor | None, ...] | None]:
        q, k, v = self.q_proj(hidden_states), self.k_proj(hidden_states), self.v_proj(hidden_states)
        if not self.use_short_conv:
            if self.silu_without_convolution:
                q, k, v = functional.silu(q), functional.silu(k), functional.silu(v)
            return q, k, v, None
        states = (None, None, None) if last is None else last["conv_state"]
        results = [
            convolution(x, cache=state, output_final_state=use_cache, cu_seqlens=cu_seqlens)
            for convolution, x, state in zip(
                (self.q_conv1d, self.k_conv1d, self.v_conv1d), (q, k, v), states, strict=True
            )
        ]
        (q, _), (k, _), (v, _) = results
        return q, k, v, tuple(state for _, state in results)

    def mix(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, common: dict[str, Any], seen: int
    ) -> tuple[Tensor, Any]:
        """The operator: outputs (batch, length, heads, V) and the new state. `seen`: tokens before these."""
        raise NotImplementedError

    def normed(self, outputs: Tensor, hidden_states: Tensor) -> Tensor:
        """Outputs (batch, length, heads, V), normed and gated."""
        raise NotImplementedError


class GatedOutput(Mixer):
    """Layers with a norm and a gate from `g_proj` behind the operator, named as in gated linear attention."""

    use_output_gate = True
    g_proj: nn.Linear

    def norm_and_gate(
        self, width: int, gate_fn: str, fuse_norm: bool, elementwise_affine: bool | None, norm_eps: float
    ) -> None:
        self.fuse_norm_and_gate = gate_fn == "swish" and fuse_norm and self.use_output_gate
        if self.fuse_norm_and_gate:
            self.g_norm_swish_gate = FusedRMSNormGated(width, bool(elementwise_affine), norm_eps)
        else:
            self.g_norm = RMSNorm(width, bool(elementwise_affine), eps=norm_eps, dtype=torch.float32)
            self.gate_fn = ACT2FN[gate_fn]

    def normed(self, outputs: Tensor, hidden_states: Tensor) -> Tensor:
        if not self.use_output_gate:
            return self.g_norm(outputs)
        gate = heads(self.g_proj(hidden_states), outputs.shape[-1])
        if self.fuse_norm_and_gate:
            return self.g_norm_swish_gate(outputs, gate)
        return self.g_norm(outputs) * self.gate_fn(gate)


def heads(x: Tensor, width: int, groups: int = 1) -> Tensor:
    """(batch, length, heads * width) -> (batch, length, heads * groups, width), each head `groups` times."""
    x = x.unflatten(-1, (-1, width))
    return x.repeat_interleave(groups, -2) if groups > 1 else x


def whole(hidden_size: int, expand: float, num_heads: int) -> int:
    """hidden_size * expand, which has to be a multiple of the heads."""
    width = round(hidden_size * expand)
    if not math.isclose(hidden_size * expand, width) or width % num_heads:
        raise ValueError(f"Expected a multiple of {num_heads} heads, but got {hidden_size} * {expand}.")
    return width


def time_step_bias(count: int) -> Tensor:
    """softplus^-1 of time steps drawn from 0.001 to 0.1, evenly in their logarithm (Mamba, arXiv 2312.00752)."""
    step = torch.exp(torch.rand(count) * math.log(100) + math.log(0.001)).clamp(min=1e-4)
    return step + torch.log(-torch.expm1(-step))
