"""The layers of the stand-in run as those of flash-linear-attention do: alone, padded, from a cache, in bfloat16."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path.insert(0, str(FOLDER))
from skeleton import kernels  # noqa: E402

kernels.install("stand_in")
from fla import layers  # noqa: E402
from fla.models.utils import Cache  # noqa: E402

# name of a case -> (class, arguments beside hidden_size, num_heads and layer_idx)
LAYERS = {
    "DeltaNet": ("DeltaNet", {}),
    "DeltaNet with a gate": ("DeltaNet", {"use_gate": True, "qk_activation": "elu", "qk_norm": "sum"}),
    "GatedDeltaNet": ("GatedDeltaNet", {"head_dim": 8}),
    "GatedDeltaNet with groups": ("GatedDeltaNet", {"head_dim": 8, "num_v_heads": 8, "expand_v": 1}),
    "GatedLinearAttention": ("GatedLinearAttention", {}),
    "GatedLinearAttention with groups": ("GatedLinearAttention", {"num_kv_heads": 2, "use_short_conv": True}),
    "KimiDeltaAttention": ("KimiDeltaAttention", {"head_dim": 8}),
    "LinearAttention": ("LinearAttention", {}),
    "LinearAttention, normalized": ("LinearAttention", {"feature_map": "elu", "do_feature_map_norm": True}),
    "MultiScaleRetention": ("MultiScaleRetention", {}),
    "SimpleGatedLinearAttention": ("SimpleGatedLinearAttention", {"gate_fn": "sigmoid", "num_kv_heads": 2}),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    torch.manual_seed(0)
    name, arguments = LAYERS[request.param]
    return getattr(layers, name)(hidden_size=32, num_heads=4, layer_idx=0, **arguments)


def test_layer_gives_a_gradient_to_every_parameter(layer):
    x = torch.randn(2, 70, 32)
    outputs, attentions, cache = layer(x)
    assert outputs.shape == x.shape and attentions is None and cache is None
    outputs.square().mean().backward()
    assert [name for name, p in layer.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_layer_sees_no_later_token(layer):
    x = torch.randn(2, 70, 32)
    changed = x.clone()
    changed[0, 40:] = torch.randn(30, 32)
    before, after = layer(x)[0], layer(changed)[0]
    assert torch.allclose(before[0, :40], after[0, :40], atol=1e-6) and torch.allclose(before[1], after[1], atol=1e-6)
    assert not torch.allclose(before[0, 40:], after[0, 40:], atol=1e-3)


def test_layer_goes_on_from_its_cache(layer):
    x = torch.randn(2, 70, 32)
    whole = layer(x)[0]
    cache = Cache()
    parts = []
    for start, end in ((0, 1), (1, 40), (40, 41), (41, 70)):
        outputs, _, cache = layer(x[:, start:end], past_key_values=cache, use_cache=True)
        parts.append(outputs)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)
    assert cache.get_seq_length(0) == 70


def test_layer_leaves_padding_out(layer):
    x = torch.randn(2, 70, 32)
    mask = torch.ones(2, 70, dtype=torch.long)
    mask[0, :25] = 0
    outputs = layer(x, attention_mask=mask)[0]
    assert torch.allclose(outputs[0, 25:], layer(x[:1, 25:])[0][0], atol=1e-5)
    assert torch.allclose(outputs[1], layer(x[1:])[0][0], atol=1e-5)


def test_layer_runs_in_bfloat16(layer):
    x = torch.randn(2, 70, 32)
    expected = layer(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(x)[0]
    assert outputs.dtype == torch.bfloat16
    assert (outputs - expected).norm() < 0.05 * expected.norm()
    outputs = layer.bfloat16()(x.bfloat16())[0]
    assert outputs.dtype == torch.bfloat16
    assert (outputs - expected).norm() < 0.1 * expected.norm()


def test_delta_net_is_its_formula():
    torch.manual_seed(0)
    layer = layers.DeltaNet(hidden_size=16, num_heads=2, layer_idx=0).double()
    x = torch.randn(1, 20, 16, dtype=torch.float64)

    def projected(name):
        padded = torch.cat([torch.zeros(1, 3, 16).double(), x @ getattr(layer, f"{name}_proj").weight.T], 1)
        weight = getattr(layer, f"{name}_conv1d").weight[:, 0]
        return torch.nn.functional.silu(sum(padded[:, i : i + 20] * weight[:, i] for i in range(4))).view(20, 2, 8)

    q, k, v = projected("q"), projected("k"), projected("v")
    q, k = (y / (y.square().sum(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
    beta = (x[0] @ layer.b_proj.weight.T).sigmoid()
    state, outputs = torch.zeros(2, 8, 8).double(), []
    for t in range(20):
        error = v[t] - torch.einsum("hkv,hk->hv", state, k[t])
        state = state + torch.einsum("hk,hv->hkv", k[t], beta[t][:, None] * error)
        outputs.append(torch.einsum("hkv,hk->hv", state, q[t]) * 8**-0.5)
    read = torch.stack(outputs)
    read = read / (read.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(layer(x)[0][0], read.reshape(20, 16) @ layer.o_proj.weight.T, atol=1e-10)


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="multiple of 3 heads"):
        layers.DeltaNet(hidden_size=32, num_heads=3)
    with pytest.raises(ValueError, match="mode chunk or fused_recurrent"):
        layers.GatedDeltaNet(hidden_size=32, mode="parallel")
    layer = layers.LinearAttention(hidden_size=32, num_heads=4)
    with pytest.raises(ValueError, match="requires `layer_idx`"):
        layer(torch.randn(1, 5, 32), past_key_values=Cache())
