# ruff: noqa - as they are published, with names and types of their own
# As search systems publish them: DeltaNet's own name and arguments, branches mixed by a gate, an entropy loss on the gate,
# @torch.compile on helpers, einops, imports of flash-linear-attention.
from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Optional, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from fla.modules import FusedRMSNormGated, RMSNorm, ShortConvolution
from fla.modules.l2norm import l2norm
from fla.ops.delta_rule import chunk_delta_rule

if TYPE_CHECKING:
    from fla.models.utils import Cache


@torch.compile
def elu_p1(x):
    return (F.elu(x, 1.0, False) + 1.0).to(x)


@torch.compile
def sum_norm(x):
    return (x / x.sum(-1, keepdim=True)).to(x)


class DeltaNet(nn.Module):
    def __init__(
        self,
        mode: str = "chunk1",
        d_model: Optional[int] = None,
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        num_heads: int = 4,
        use_beta: bool = True,
        use_gate: bool = False,
        use_short_conv: bool = True,
        conv_size: int = 4,
        conv_bias: bool = False,
        allow_neg_eigval: bool = False,
        layer_idx: Optional[int] = None,
        qk_activation: str = "silu",
        qk_norm: str = "l2",
        norm_eps: float = 1e-5,
        gate_entropy: float = 0.01,
        **kwargs: Dict,
    ) -> None:
        super().__init__()
        if d_model is not None:
            hidden_size = d_model
        self.mode = mode
        self.num_heads = num_heads
        self.use_gate = use_gate
        self.gate_entropy = gate_entropy
        self.layer_idx = layer_idx
        key_dim, value_dim = int(hidden_size * expand_k), int(hidden_size * expand_v)
        self.head_k_dim = key_dim // num_heads
        self.head_v_dim = value_dim // num_heads
        self.q_proj = nn.Linear(hidden_size, key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, value_dim, bias=False)
        self.b_proj = nn.Linear(hidden_size, num_heads, bias=False)
        self.q_conv1d = ShortConvolution(key_dim, conv_size, activation="silu")
        self.k_conv1d = ShortConvolution(key_dim, conv_size, activation="silu")
        self.v_conv1d = ShortConvolution(value_dim, conv_size, activation="silu")
        self.fusion = nn.Linear(hidden_size, 2 * num_heads)
        if use_gate:
            self.g_proj = nn.Linear(hidden_size, value_dim, bias=False)
            self.o_norm = FusedRMSNormGated(self.head_v_dim, eps=norm_eps)
        else:
            self.o_norm = RMSNorm(self.head_v_dim, eps=norm_eps)
        self.o_proj = nn.Linear(value_dim, hidden_size, bias=False)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: Optional[torch.Tensor] = None,
        past_key_values: Optional["Cache"] = None,
        *,
        use_cache: Optional[bool] = False,
        output_attentions: Optional[bool] = False,
        **kwargs,
    ) -> Tuple[torch.Tensor, Optional[torch.Tensor], Optional["Cache"]]:
        if attention_mask is not None:
            assert attention_mask.ndim == 2
        cu_seqlens = kwargs.get("cu_seqlens")
        q, _ = self.q_conv1d(
            x=self.q_proj(hidden_states), cache=None, output_final_state=use_cache, cu_seqlens=cu_seqlens
        )
        k, _ = self.k_conv1d(
            x=self.k_proj(hidden_states), cache=None, output_final_state=use_cache, cu_seqlens=cu_seqlens
        )
        v, _ = self.v_conv1d(
            x=self.v_proj(hidden_states), cache=None, output_final_state=use_cache, cu_seqlens=cu_seqlens
        )
        q = rearrange(q, "b l (h d) -> b l h d", d=self.head_k_dim)
        k = rearrange(k, "b l (h d) -> b l h d", d=self.head_k_dim)
        v = rearrange(v, "b l (h d) -> b l h d", d=self.head_v_dim)
        beta = self.b_proj(hidden_states).sigmoid()
        delta, _ = chunk_delta_rule(
            q=l2norm(q), k=l2norm(k), v=v, beta=beta, initial_state=None, output_final_state=use_cache
        )
        mix = rearrange(self.fusion(hidden_states), "b l (h c) -> b l h c", c=2).softmax(-1)
        o = mix[..., :1] * delta + mix[..., 1:] * v
        reg_loss = None
        if self.training:
            entropy = -(mix * (mix + 1e-8).log()).sum(-1).mean()
            reg_loss = -self.gate_entropy * entropy
        if self.use_gate:
            o = self.o_norm(o, rearrange(self.g_proj(hidden_states), "b l (h d) -> b l h d", d=self.head_v_dim))
        else:
            o = self.o_norm(o)
        o = self.o_proj(rearrange(o, "b l h d -> b l (h d)"))
        return o, reg_loss, past_key_values
