# ruff: noqa - as they are published, with names and types of their own
# The delta rule written out in PyTorch with a compiled function, padding to the chunk, state kept in bfloat16, a learnt
# forget factor: what works under autocast on a GPU, and not in fp32.
import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange


def l2norm(x):
    return x / (x.norm(dim=-1, keepdim=True) + 1e-6)


@torch.compile
def delta_rule_chunkwise(q, k, v, beta, chunk_size: int = 32):
    b, h, L, d_k = q.shape
    pad_len = (chunk_size - L % chunk_size) % chunk_size
    if pad_len > 0:
        q, k, v = (F.pad(x, (0, 0, 0, pad_len)) for x in (q, k, v))
        beta = F.pad(beta, (0, pad_len))
    q, k = l2norm(q), l2norm(k)
    v, k_beta = v * beta[..., None], k * beta[..., None]
    mask = torch.triu(torch.ones(chunk_size, chunk_size, dtype=torch.bool, device=q.device), diagonal=0)
    q, k, v, k_beta = map(lambda x: rearrange(x, "b h (n c) d -> b h n c d", c=chunk_size), (q, k, v, k_beta))
    attn = -(k_beta @ k.transpose(-1, -2)).masked_fill(mask, 0)
    for i in range(1, chunk_size):
        attn[..., i, :i] = attn[..., i, :i] + (attn[..., i, :, None].clone() * attn[..., :, :i].clone()).sum(-2)
    attn = (attn + torch.eye(chunk_size, dtype=attn.dtype, device=q.device)).to(torch.bfloat16)
    u, w = attn @ v, attn @ k_beta
    S = k.new_zeros(b, h, d_k, v.shape[-1])
    o = torch.zeros_like(v)
    mask = torch.triu(torch.ones(chunk_size, chunk_size, dtype=torch.bool, device=q.device), diagonal=1)
    for i in range(0, q.shape[2]):
        q_i, k_i = q[:, :, i], k[:, :, i]
        inner = (q_i @ k_i.transpose(-1, -2)).masked_fill_(mask, 0)
        u_i = u[:, :, i] - w[:, :, i] @ S
        o[:, :, i] = q_i @ S + inner @ u_i
        S = S + k_i.transpose(-1, -2) @ u_i
    return rearrange(o, "b h n c d -> b h (n c) d")[:, :, :L]


class AdaptiveDeltaNet(nn.Module):
    def __init__(self, hidden_size=1024, num_heads=4, mode="chunk", layer_idx=None, use_beta=True, **kwargs):
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = hidden_size // num_heads
        self.qkv_proj = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.b_proj = nn.Linear(hidden_size, num_heads, bias=False)
        self.o_norm = nn.LayerNorm(self.head_dim)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(
        self,
        hidden_states,
        attention_mask=None,
        past_key_values=None,
        use_cache=False,
        output_attentions=False,
        **kwargs,
    ):
        q, k, v = rearrange(self.qkv_proj(hidden_states), "b l (n h d) -> n b h l d", n=3, h=self.num_heads)
        beta = rearrange(self.b_proj(hidden_states).sigmoid(), "b l h -> b h l")
        o = delta_rule_chunkwise(F.silu(q), F.silu(k), v.bfloat16(), beta.to(v.dtype))
        o = self.o_norm(rearrange(o, "b h l d -> b l h d").float())
        return self.o_proj(rearrange(o, "b l h d -> b l (h d)")), None, past_key_values


mixer = AdaptiveDeltaNet
