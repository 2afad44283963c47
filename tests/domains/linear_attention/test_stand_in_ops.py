"""The operators of the stand-in equal the recurrences they stand for, forward and backward, however they are cut."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from asi_evolve import domains
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path.insert(0, str(FOLDER))
from skeleton import kernels  # noqa: E402

kernels.install("stand_in")
from fla import ops  # noqa: E402
from fla.modules.l2norm import l2norm  # noqa: E402
from fla.ops.gated_delta_rule.gate import naive_gdn_gate  # noqa: E402

LENGTHS = (1, 7, 33, 64, 65, 130)
# Largest relative difference (of norms) to the recurrence computed in float64.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


def recurrence(q, k, v, beta=None, g=None, gk=None, gv=None, state=None, scale=None):
    """Token by token from the formulas, independent of the stand-in. Layout (batch, length, heads, width)."""
    batch, length, heads, width = q.shape
    scale = width**-0.5 if scale is None else scale
    state = q.new_zeros(batch, heads, width, v.shape[-1]) if state is None else state
    outputs = []
    for t in range(length):
        if g is not None:
            state = state * g[:, t, :, None, None].exp()
        if gk is not None:
            state = state * gk[:, t, :, :, None].exp()
        if gv is not None:
            state = state * gv[:, t, :, None, :].exp()
        written = v[:, t]
        if beta is not None:
            factor = beta[:, t] if beta.dim() == 4 else beta[:, t, :, None]
            written = factor * (written - torch.einsum("bhkv,bhk->bhv", state, k[:, t]))
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], written)
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, q[:, t] * scale))
    return torch.stack(outputs, 1), state


# operator -> (its extra arguments, its call)
OPERATORS = {
    "chunk_delta_rule": (("beta",), ops.chunk_delta_rule),
    "fused_recurrent_delta_rule": (("beta",), ops.fused_recurrent_delta_rule),
    "chunk_gated_delta_rule": (("g", "beta"), ops.chunk_gated_delta_rule),
    "fused_recurrent_gated_delta_rule": (("g", "gk", "beta"), ops.fused_recurrent_gated_delta_rule),
    "chunk_kda": (("gk", "beta"), lambda q, k, v, gk, beta, **rest: ops.chunk_kda(q, k, v, gk, beta, **rest)),
    "chunk_gla": (("gk",), lambda q, k, v, gk, **rest: ops.chunk_gla(q, k, v, gk, **rest)),
    "fused_recurrent_gla": (("gk", "gv"), ops.fused_recurrent_gla),
    "chunk_simple_gla": (("g",), ops.chunk_simple_gla),
    "fused_recurrent_simple_gla": (("g",), ops.fused_recurrent_simple_gla),
    "chunk_linear_attn": ((), lambda *given, **rest: ops.chunk_linear_attn(*given, normalize=False, **rest)),
}


def inputs(names, length, *, batch=2, heads=2, width=8, value_width=12, seed=0, gate=1.0):
    """float64 tensors by name; gates are log sigmoids of `gate` times normal numbers."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    shape = (batch, length, heads)
    made = {
        "q": normal(*shape, width),
        "k": torch.nn.functional.normalize(normal(*shape, width), dim=-1),
        "v": normal(*shape, value_width),
        "beta": normal(*shape).sigmoid(),
        "g": torch.nn.functional.logsigmoid(gate * normal(*shape)),
        "gk": torch.nn.functional.logsigmoid(gate * normal(*shape, width)),
        "gv": torch.nn.functional.logsigmoid(gate * normal(*shape, value_width)),
        "state": normal(batch, heads, width, value_width),
    }
    return {name: made[name] for name in ("q", "k", "v", *names, "state")}


def with_gradients(function, given, dtype=torch.float64):
    """Outputs, final state, and the gradients of a random sum of both to every input, in float64."""
    given = {name: x.to(dtype).requires_grad_() for name, x in given.items()}
    outputs, state = function(**given)
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(dtype) for x in (outputs, state)]
    gradients = torch.autograd.grad((outputs * weights[0]).sum() + (state * weights[1]).sum(), list(given.values()))
    return {"outputs": outputs, "final state": state, **dict(zip(given, gradients, strict=True))}


def differences(ours, expected):
    return {
        name: ((ours[name].double() - expected[name]).norm() / expected[name].norm().clamp(min=1e-9)).item()
        for name in expected
    }


def called(operator):
    _, function = OPERATORS[operator]
    return lambda state, **given: function(**given, initial_state=state, output_final_state=True)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_operator_equals_its_recurrence_forward_and_backward(operator, dtype):
    names, _ = OPERATORS[operator]
    for length in LENGTHS:
        given = inputs(names, length, seed=length)
        expected = with_gradients(recurrence, given)
        found = differences(with_gradients(called(operator), given, dtype), expected)
        assert max(found.values()) < TOLERANCE[dtype], (length, found)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(OPERATORS)),
    st.integers(1, 150),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([0.1, 1.0, 10.0]),
    st.integers(0, 99),
)
def test_operator_equals_its_recurrence_whatever_the_shape(operator, length, batch, heads, width, values, gate, seed):
    names, _ = OPERATORS[operator]
    given = inputs(names, length, batch=batch, heads=heads, width=width, value_width=values, seed=seed, gate=gate)
    expected_outputs, expected_state = recurrence(**given)
    outputs, state = called(operator)(**given)
    # a width of 1 makes keys of exactly 1 or -1 and sums that cancel: compared absolutely
    assert torch.allclose(outputs, expected_outputs, rtol=1e-9, atol=1e-9)
    assert torch.allclose(state, expected_state, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("cut", [1, 33, 64, 100])
def test_two_halves_with_the_state_between_them_equal_one_whole(operator, cut):
    names, function = OPERATORS[operator]
    given = inputs(names, 130)
    state = given.pop("state")
    whole, end = function(**given, initial_state=state, output_final_state=True)
    first, between = function(
        **{name: x[:, :cut] for name, x in given.items()}, initial_state=state, output_final_state=True
    )
    second, last = function(
        **{name: x[:, cut:] for name, x in given.items()}, initial_state=between, output_final_state=True
    )
    assert torch.allclose(torch.cat([first, second], 1), whole, atol=1e-12)
    assert torch.allclose(last, end, atol=1e-12)


@pytest.mark.parametrize("operator", OPERATORS)
def test_sequences_end_to_end_equal_each_alone(operator):
    names, function = OPERATORS[operator]
    ends = [0, 5, 5, 70, 71, 130]
    given = inputs(names, 130, batch=1)
    states = inputs((), 1, batch=5)["state"]
    del given["state"]
    packed = {name: x.clone().requires_grad_() for name, x in given.items()}
    outputs, final = function(**packed, initial_state=states, output_final_state=True, cu_seqlens=torch.tensor(ends))
    outputs.square().sum().backward()
    for i, (start, end) in enumerate(pairwise(ends)):
        if start == end:
            assert torch.equal(final[i], states[i])
            continue
        alone = {name: x[:, start:end].clone().requires_grad_() for name, x in given.items()}
        expected, state = function(**alone, initial_state=states[i : i + 1], output_final_state=True)
        expected.square().sum().backward()
        assert torch.allclose(outputs[:, start:end], expected, atol=1e-12)
        assert torch.allclose(final[i], state[0], atol=1e-12)
        for name in alone:
            assert torch.allclose(packed[name].grad[:, start:end], alone[name].grad, atol=1e-11)


def test_sequences_that_do_not_fill_the_row_are_refused():
    given = inputs(("beta",), 10, batch=1)
    del given["state"]
    for ends in ([0, 4], [2, 10], [0, 6, 4, 10]):
        with pytest.raises(ValueError, match="from 0 to the length 10"):
            ops.chunk_delta_rule(**given, cu_seqlens=torch.tensor(ends))
    two = {name: torch.cat([x, x]) for name, x in given.items()}
    with pytest.raises(ValueError, match="batch size is expected to be 1"):
        ops.chunk_delta_rule(**two, cu_seqlens=torch.tensor([0, 10]))


def test_scale_head_first_normalization_and_layout_of_the_state():
    given = inputs(("beta",), 70)
    state = given.pop("state")
    given["k"] = 3 * given["k"]
    normalized = {**given, "q": l2norm(given["q"]), "k": l2norm(given["k"])}
    expected, end = recurrence(**normalized, state=state, scale=0.7)
    plain = {"scale": 0.7, "initial_state": state, "output_final_state": True, "use_qk_l2norm_in_kernel": True}
    outputs, final = ops.chunk_delta_rule(**given, **plain)
    assert torch.allclose(outputs, expected, atol=1e-12) and torch.allclose(final, end, atol=1e-12)
    turned = {name: x.transpose(1, 2) for name, x in given.items()}
    outputs, final = ops.chunk_delta_rule(**turned, **plain, head_first=True)
    assert torch.allclose(outputs.transpose(1, 2), expected, atol=1e-12) and torch.allclose(final, end, atol=1e-12)
    plain["initial_state"] = state.transpose(-1, -2)
    gate = torch.zeros_like(given["beta"])
    outputs, final = ops.chunk_gated_delta_rule(**given, g=gate, **plain, state_v_first=True)
    assert torch.allclose(outputs, expected, atol=1e-12)
    assert torch.allclose(final.transpose(-1, -2), end, atol=1e-12)
    assert ops.chunk_delta_rule(**given)[1] is None


def test_value_heads_share_the_keys_of_their_group():
    few, many = inputs((), 40, heads=2), inputs(("beta", "g"), 40, heads=6)
    given = {**{name: many[name] for name in ("v", "beta", "g")}, "q": few["q"], "k": few["k"]}
    outputs, final = ops.chunk_gated_delta_rule(**given, initial_state=many["state"], output_final_state=True)
    given["q"], given["k"] = (given[name].repeat_interleave(3, 2) for name in ("q", "k"))
    expected, end = recurrence(**given, state=many["state"])
    assert torch.allclose(outputs, expected, atol=1e-12) and torch.allclose(final, end, atol=1e-12)


def test_beta_per_value_dimension():
    given = inputs((), 40)
    given["beta"] = torch.rand(given["v"].shape, dtype=torch.float64)
    expected, end = recurrence(**given)
    state = given.pop("state")
    outputs, final = ops.fused_recurrent_delta_rule(**given, initial_state=state, output_final_state=True)
    assert torch.allclose(outputs, expected, atol=1e-12) and torch.allclose(final, end, atol=1e-12)


def test_backwards_in_time():
    given = inputs(("g",), 70)
    flipped, end = recurrence(**{name: x if name == "state" else x.flip(1) for name, x in given.items()})
    state = given.pop("state")
    options = {"initial_state": state, "output_final_state": True, "reverse": True}
    outputs, final = ops.fused_recurrent_simple_gla(**given, **options)
    assert torch.allclose(outputs, flipped.flip(1), atol=1e-12) and torch.allclose(final, end, atol=1e-12)
    one = {name: x[:1] for name, x in given.items()}
    packed, _ = ops.fused_recurrent_simple_gla(**one, reverse=True, cu_seqlens=torch.tensor([0, 20, 70]))
    parts = [
        ops.fused_recurrent_simple_gla(**{name: x[:, part] for name, x in one.items()}, reverse=True)[0]
        for part in (slice(0, 20), slice(20, 70))
    ]
    assert torch.allclose(packed, torch.cat(parts, 1), atol=1e-12)


def test_gates_and_betas_formed_inside():
    given = inputs(("beta", "g"), 50)
    state, raw, logits = given.pop("state"), given.pop("g") + 1, given.pop("beta") * 4 - 2
    rate, bias = torch.rand(2).double(), torch.randn(2).double()
    expected, _ = recurrence(
        **given, beta=2 * logits.sigmoid(), g=naive_gdn_gate(raw, rate, bias, torch.float64), state=state
    )
    gate = -rate.exp() * torch.nn.functional.softplus(raw + bias)
    assert torch.allclose(naive_gdn_gate(raw, rate, bias, torch.float64), gate, atol=1e-12)
    formed = {"use_gate_in_kernel": True, "A_log": rate, "dt_bias": bias, "initial_state": state}
    formed |= {"use_beta_sigmoid_in_kernel": True, "allow_neg_eigval": True}
    for operator in (ops.chunk_gated_delta_rule, ops.fused_recurrent_gated_delta_rule):
        assert torch.allclose(operator(**given, g=raw, beta=logits, **formed)[0], expected, atol=1e-12)


@pytest.mark.parametrize("normalizer", [ops.chunk_linear_attn, ops.fused_chunk_linear_attn])
def test_normalized_linear_attention_carries_the_sum_of_keys(normalizer):
    given = {name: x.abs() for name, x in inputs((), 70, batch=1).items() if name != "state"}
    outputs, (state, keys) = normalizer(**given, output_final_state=True)
    sums, end = recurrence(**given)
    divisor = (given["q"] * given["k"].cumsum(1)).sum(-1, keepdim=True) * 8**-0.5
    assert torch.allclose(outputs, sums / divisor, atol=1e-8) and torch.allclose(state, end, atol=1e-12)
    assert torch.allclose(keys, given["k"].sum(1, keepdim=True), atol=1e-12)
    first, between = normalizer(**{name: x[:, :30] for name, x in given.items()}, output_final_state=True)
    second, _ = normalizer(**{name: x[:, 30:] for name, x in given.items()}, initial_state=between)
    assert torch.allclose(torch.cat([first, second], 1), outputs, atol=1e-10)
    packed, _ = normalizer(**given, cu_seqlens=torch.tensor([0, 30, 70]))
    alone, _ = normalizer(**{name: x[:, 30:] for name, x in given.items()})
    assert torch.allclose(packed, torch.cat([first, alone], 1), atol=1e-10)


def test_retention_forgets_by_head():
    given = inputs((), 70)
    decay = torch.tensor([math.log(1 - 2**-5), math.log(1 - 2**-6)]).double()
    expected, end = recurrence(**given, g=decay.expand(2, 70, 2))
    state = given.pop("state")
    for operator in (ops.chunk_retention, ops.fused_chunk_retention, ops.fused_recurrent_retention):
        outputs, final = operator(**given, initial_state=state, output_final_state=True)
        # the decay of a head is computed in float32, as it is there
        assert torch.allclose(outputs, expected, atol=1e-5) and torch.allclose(final, end, atol=1e-5)


@pytest.mark.parametrize("operator", ["chunk_gated_delta_rule", "chunk_kda", "chunk_gla", "chunk_simple_gla"])
@pytest.mark.parametrize("strength", [-1e-6, -20.0, -1e4, -math.inf], ids=str)
def test_gates_that_keep_or_forget_everything_stay_finite_and_right(operator, strength):
    names, _ = OPERATORS[operator]
    given = inputs(names, 130)
    gate = "g" if "g" in names else "gk"
    given[gate] = torch.where(torch.arange(130) % 9 == 4, strength, given[gate].movedim(1, -1)).movedim(-1, 1)
    expected = with_gradients(recurrence, given)
    for dtype in (torch.float64, torch.float32):
        ours = with_gradients(called(operator), given, dtype)
        assert all(bool(x.isfinite().all()) for x in ours.values())
        assert max(differences(ours, expected).values()) < TOLERANCE[dtype]


@pytest.mark.parametrize("operator", OPERATORS)
def test_bfloat16_is_computed_in_float32_and_given_back_as_it_came(operator):
    names, _ = OPERATORS[operator]
    given = {name: x.bfloat16() for name, x in inputs(names, 70).items()}
    wide = {name: x.float() for name, x in given.items()}
    expected, end = called(operator)(**wide)
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs, state = called(operator)(**given)
            same, _ = called(operator)(**wide)
        assert outputs.dtype == torch.bfloat16 and state.dtype == torch.float32
        assert torch.equal(outputs, expected.bfloat16()) and torch.equal(state, end)
        assert torch.equal(same, expected)


@pytest.mark.parametrize("operator", OPERATORS)
def test_nothing_reaches_the_past_or_other_items_of_the_batch(operator):
    names, _ = OPERATORS[operator]
    given = inputs(names, 100)
    before, _ = called(operator)(**given)
    for at in (1, 31, 64, 99):
        changed = {name: x if name == "state" else x.clone() for name, x in given.items()}
        for name, x in changed.items():
            if name != "state":
                x[0, at:] = x[0, at:].flip(0) - 0.1
        after, _ = called(operator)(**changed)
        assert torch.equal(after[0, :at], before[0, :at]) and torch.equal(after[1], before[1])
        assert not torch.equal(after[0, at:], before[0, at:])


def test_what_the_stand_in_cannot_do_is_refused_by_name():
    given = inputs(("beta", "g"), 10)
    del given["state"]
    gate = given.pop("g")
    with pytest.raises(TypeError, match="chunk_delta_rule knows, but got `decay`"):
        ops.chunk_delta_rule(**given, decay=gate)
    with pytest.raises(NotImplementedError, match="`cp_context` to be left out"):
        ops.chunk_gated_delta_rule(**given, g=gate, cp_context=object())
    with pytest.raises(ValueError, match=r"Expected beta of shape \(2, 10, 2\).*got \(2, 10\)"):
        ops.chunk_delta_rule(given["q"], given["k"], given["v"], given["beta"][..., 0])
    with pytest.raises(ValueError, match="initial state of shape"):
        ops.chunk_delta_rule(**given, initial_state=torch.zeros(1, 2, 8, 12))
    with pytest.raises(ValueError, match="Expected q and k of shape"):
        ops.chunk_gla(given["q"], given["k"][:, :5], given["v"], given["q"])
    with pytest.raises(ValueError, match="got both"):
        ops.chunk_simple_gla(given["q"], given["k"], given["v"], gate, gate[0, 0])
