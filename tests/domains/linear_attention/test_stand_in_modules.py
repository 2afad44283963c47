"""The parts of layers: what each computes, from its formula, and that it carries its state and its precision."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path.insert(0, str(FOLDER))
from skeleton import kernels  # noqa: E402

kernels.install("stand_in")
from fla import modules  # noqa: E402
from fla.layers import utils  # noqa: E402
from fla.models.utils import Cache  # noqa: E402
from fla.modules import activations, feature_map, token_shift  # noqa: E402
from fla.modules.causal_conv1d import causal_conv1d, causal_conv1d_update  # noqa: E402
from fla.modules.l2norm import l2norm  # noqa: E402
from fla.modules.norm import LayerNormGated, RMSNormGated  # noqa: E402
from fla.modules.rotary import rotary_embedding  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_norms():
    x, weight = normal(2, 5, 12), normal(12)
    rms, layer, group = (
        modules.RMSNorm(12, eps=1e-3),
        modules.LayerNorm(12, bias=True),
        modules.GroupNorm(3, 12, is_rms_norm=True),
    )
    for norm in (rms, layer, group):
        norm.double()
        norm.weight.data = weight
    layer.bias.data = weight.flip(0)
    assert torch.allclose(rms(x), x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * weight)
    assert torch.allclose(layer(x), torch.nn.functional.layer_norm(x, (12,), weight, weight.flip(0), 1e-5))
    groups = x.reshape(2, 5, 3, 4)
    expected = (groups / (groups.square().mean(-1, keepdim=True) + 1e-5).sqrt()).reshape(x.shape) * weight
    assert torch.allclose(group(x), expected)
    assert list(modules.RMSNorm(12, elementwise_affine=False).parameters()) == []
    assert torch.allclose(l2norm(x), x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt())


def test_norms_before_a_block_hand_on_the_sum():
    norm, x, residual = modules.RMSNorm(8), torch.randn(2, 8).bfloat16(), torch.randn(2, 8)
    outputs, total = norm(x, residual, prenorm=True)
    assert outputs.dtype == torch.bfloat16 and torch.allclose(total, x.float() + residual)
    assert torch.allclose(outputs.float(), norm(total), atol=0.02)
    assert norm(x, prenorm=True, residual_in_fp32=True)[1].dtype == torch.float32


def test_gated_norms():
    x, gate = normal(2, 5, 8), normal(2, 5, 8)
    rms = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    layer = torch.nn.functional.layer_norm(x, (8,), eps=1e-5)
    for name, expected in {
        "FusedRMSNormGated": rms,
        "FusedRMSNormSwishGate": rms,
        "FusedLayerNormGated": layer,
        "FusedLayerNormSwishGate": layer,
    }.items():
        assert torch.allclose(getattr(modules, name)(8).double()(x, gate), expected * gate * gate.sigmoid())
    sigmoid = modules.FusedRMSNormGated(8, activation="sigmoid").double()
    assert torch.allclose(sigmoid(x, gate), rms * gate.sigmoid())
    weight = normal(3, 8)
    expected = (rms * gate * gate.sigmoid()) @ weight.T
    assert torch.allclose(modules.FusedRMSNormSwishGateLinear(8).double()(x, gate, weight), expected)
    assert torch.allclose(modules.RMSNormLinear(8).double()(x, weight, None), rms @ weight.T)
    assert torch.allclose(LayerNormGated(8).double()(x, gate), layer * gate * gate.sigmoid())
    swished = x * gate * gate.sigmoid()
    expected = swished / (swished.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(RMSNormGated(8).double()(x, gate), expected)
    with pytest.raises(ValueError, match="swish, silu or sigmoid"):
        modules.FusedRMSNormGated(8, activation="relu")


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_short_convolution_sees_the_last_four_inputs(length):
    conv = modules.ShortConvolution(6, 4, bias=True).double()
    x = normal(2, length, 6)
    outputs, state = conv(x)
    padded = torch.cat([torch.zeros(2, 3, 6).double(), x], 1)
    sums = sum(padded[:, i : i + length] * conv.weight[:, 0, i] for i in range(4)) + conv.bias
    assert state is None
    assert torch.allclose(outputs, sums * sums.sigmoid())
    plain = modules.ShortConvolution(6, 4, activation=None).double()
    plain.weight = conv.weight
    assert torch.allclose(plain(x, residual=x)[0], sums - conv.bias + x)


def test_short_convolution_goes_on_from_its_cache():
    conv = modules.ShortConvolution(6, 4).double()
    x = normal(2, 9, 6)
    whole, end = conv(x, output_final_state=True)
    assert torch.equal(end, x[:, -4:].transpose(1, 2))
    for cut in (1, 2, 5, 8):
        first, state = conv(x[:, :cut], output_final_state=True)
        second, last = conv(x[:, cut:], cache=state, output_final_state=True)
        assert torch.allclose(torch.cat([first, second], 1), whole) and torch.equal(last, end)
    cache = torch.zeros(2, 6, 4).double()
    one_by_one = [causal_conv1d_update(x[:, t], cache, None, conv.weight[:, 0], None, "silu")[0] for t in range(9)]
    assert torch.allclose(torch.stack(one_by_one, 1), whole) and torch.equal(cache, end)


def test_short_convolution_of_sequences_end_to_end():
    conv = modules.ShortConvolution(6, 4).double()
    x, earlier = normal(1, 12, 6), normal(3, 6, 4)
    outputs, end = conv(x, cache=earlier, output_final_state=True, cu_seqlens=torch.tensor([0, 2, 9, 12]))
    for i, (start, stop) in enumerate([(0, 2), (2, 9), (9, 12)]):
        expected, state = conv(x[:, start:stop], cache=earlier[i : i + 1], output_final_state=True)
        assert torch.allclose(outputs[:, start:stop], expected) and torch.equal(end[i], state[0])
    masked, _ = conv(x, mask=torch.tensor([[0] * 4 + [1] * 8]))
    assert torch.allclose(masked[:, 4:], conv(x[:, 4:])[0])
    with pytest.raises(ValueError, match="activation"):
        causal_conv1d(x, conv.weight[:, 0], activation="relu")


def test_rotary_embedding_turns_by_the_position():
    rotary = modules.RotaryEmbedding(8)
    q, k = torch.randn(2, 11, 3, 8), torch.randn(2, 11, 3, 8)
    turned, keys = rotary(q, k)
    pairs = torch.view_as_complex(torch.stack([q[..., :4], q[..., 4:]], -1))
    angles = torch.arange(11)[:, None] * 10000 ** (-torch.arange(4) / 4)
    expected = pairs * torch.polar(torch.ones(11, 4), angles)[:, None]
    assert torch.allclose(turned, torch.cat([expected.real, expected.imag], -1), atol=1e-5)
    later, _ = rotary(q, k, seqlen_offset=5)
    scores = torch.einsum("bihd,bjhd->bhij", turned, keys)
    assert torch.allclose(torch.einsum("bihd,bjhd->bhij", later, rotary(k, k, seqlen_offset=5)[1]), scores, atol=1e-4)
    packed, _ = rotary(q[:1], k[:1], cu_seqlens=torch.tensor([0, 4, 11]))
    assert torch.allclose(packed[:, 4:], rotary(q[:1, 4:], k[:1, 4:])[0], atol=1e-6)
    both, _ = rotary(q, k, seqlen_offset=torch.tensor([0, 5]))
    assert torch.allclose(both[1], later[1], atol=1e-6)
    alternating, _ = modules.RotaryEmbedding(8, interleaved=True)(q, k)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    assert torch.allclose(alternating[..., order], rotary(q[..., order], k)[0], atol=1e-6)
    assert torch.allclose(rotary_embedding(q, angles.cos(), angles.sin()), turned, atol=1e-5)


def test_feature_maps():
    x, y = normal(2, 3, 4), normal(2, 3, 4)
    taylor = feature_map.TaylorFeatureMap(4)
    score = (x * y).sum(-1) / 2
    assert torch.allclose((taylor(x) * taylor(y)).sum(-1), 1 + score + score.square() / 2)
    rebased = feature_map.RebasedFeatureMap(4, normalize=False).double()
    assert torch.allclose((rebased(x) * rebased(y)).sum(-1), (x * y).sum(-1).square() / 4)
    dpfp = feature_map.DPFPFeatureMap(4, nu=2)(x)
    both = torch.cat([x.relu(), (-x).relu()], -1)
    assert torch.allclose(dpfp, torch.cat([both * both.roll(1, -1), both * both.roll(2, -1)], -1))
    hedgehog = feature_map.HedgehogFeatureMap(4).double()
    assert torch.allclose(hedgehog(x), torch.cat([2 * x, -2 * x], -1).softmax(-1))
    outer = feature_map.LearnableOuterProductFeatureMap(4, 3).double()
    assert outer(x).shape == (2, 3, 6)
    for name in ("T2RFeatureMap", "HadamardFeatureMap"):
        assert getattr(feature_map, name)(4).double()(x).shape == x.shape


def test_activations_and_the_gated_mlp():
    x, y = normal(5, 8), normal(5, 8)
    assert torch.allclose(activations.elu_p1(x), torch.nn.functional.elu(x) + 1)
    assert torch.allclose(activations.logsigmoid(x, 16), x.sigmoid().log() / 16)
    assert torch.allclose(activations.swiglu(x, y), x * x.sigmoid() * y)
    assert torch.allclose(activations.ACT2FN["sqrelu"](x), x.relu() ** 2)
    mlp = modules.GatedMLP(8, hidden_ratio=4).double()
    assert mlp.intermediate_size == 256
    inner = activations.swiglu(x @ mlp.gate_proj.weight.T, x @ mlp.up_proj.weight.T)
    assert torch.allclose(mlp(x), inner @ mlp.down_proj.weight.T)


def test_token_shift():
    x = normal(1, 6, 3)
    before = torch.cat([torch.zeros(1, 1, 3).double(), x[:, :-1]], 1)
    assert torch.allclose(token_shift.token_shift(x), before - x)
    packed = token_shift.token_shift(x, torch.tensor([0, 2, 6]))
    assert torch.allclose(packed[:, 2], -x[:, 2]) and torch.allclose(packed[:, 3:], (before - x)[:, 3:])


def test_padding_is_taken_out_and_put_back():
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 0, 0]])
    x = normal(2, 4, 3).requires_grad_()
    indices, cu_seqlens, longest = utils.get_unpad_data(mask)
    assert indices.tolist() == [1, 2, 3, 4, 5] and cu_seqlens.tolist() == [0, 3, 5] and longest == 3
    tokens = utils.index_first_axis(x.flatten(0, 1), indices)
    assert torch.equal(tokens, torch.cat([x[0, 1:], x[1, :2]]))
    back = utils.pad_input(tokens, indices, 2, 4)
    assert torch.equal(back, x * mask.unsqueeze(-1))
    back.sum().backward()
    assert torch.equal(x.grad, mask.unsqueeze(-1).expand(2, 4, 3).double())
    q, (k,), _, (of_q, _), _ = utils.unpad_input(x, (x,), mask, 4)
    assert torch.equal(q, tokens) and torch.equal(k, tokens) and of_q.tolist() == [0, 3, 5]
    q, _, _, (of_q, of_k), (longest_q, _) = utils.unpad_input((x[:, :1],), (x,), mask, 1)
    assert q[0].shape == (2, 3) and of_q.tolist() == [0, 1, 2] and of_k.tolist() == [0, 3, 5] and longest_q == 1


def test_cache():
    cache = Cache()
    assert len(cache) == 0 and cache.get_seq_length() == 0
    cache.update(recurrent_state="a", layer_idx=1, offset=5)
    cache.update(conv_state="b", layer_idx=1, offset=2)
    assert len(cache) == 2 and cache[1]["recurrent_state"] == "a" and cache[1]["conv_state"] == "b"
    assert cache.get_seq_length(1) == 7 and cache.get_seq_length(0) == 0
    keys = torch.randn(1, 5, 2)
    cache.update(attn_state=(keys,), layer_idx=0, cache_kwargs={"window_size": 4})
    cache.update(attn_state=(keys[:, :1],), layer_idx=0, cache_kwargs={"window_size": 4})
    assert torch.equal(cache[0]["attn_state"][0], torch.cat([keys[:, 2:], keys[:, :1]], 1))
    assert cache.get_seq_length(0) == 6
    assert Cache.from_legacy_cache(cache.to_legacy_cache(), 6)[1]["conv_state"] == "b"
    with pytest.raises(KeyError, match="2 layers"):
        cache[2]
    with pytest.raises(ValueError, match="requires `layer_idx`"):
        utils.get_layer_cache(torch.nn.Identity(), cache)


def test_parts_keep_bfloat16():
    x = torch.randn(2, 9, 8).bfloat16()
    for module in (modules.RMSNorm(8), modules.LayerNorm(8), modules.GroupNorm(2, 8)):
        assert module(x).dtype == torch.bfloat16
        assert math.isclose(module(x).float().square().mean().item(), 1.0, abs_tol=0.1)
    assert modules.FusedRMSNormGated(8)(x, x).dtype == torch.bfloat16
    for conv in (modules.ShortConvolution(8, 4), modules.ShortConvolution(8, 4).bfloat16()):
        outputs, state = conv(x, output_final_state=True)
        assert outputs.dtype == state.dtype == torch.bfloat16
    assert l2norm(x).dtype == torch.bfloat16 and l2norm(x, output_dtype=torch.float32).dtype == torch.float32
