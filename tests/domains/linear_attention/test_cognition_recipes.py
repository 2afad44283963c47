"""The recipes of cognition.yaml that can be computed: what an item says to call gives what its equation says.

Each test is one item: its equation as a loop over tokens against its implementation on the operators of the stand-in.
"""

import ast
import inspect
import re
import sys
from pathlib import Path

import asi_evolve
import pytest
from asi_evolve.domains.cognition_file import read_items

torch = pytest.importorskip("torch")
F = torch.nn.functional

DOMAIN = Path(asi_evolve.__file__).parent / "domains" / "linear_attention"
STAND_IN = DOMAIN / "stand_in"
BATCH, LENGTH, HEADS, KEYS, VALUES = 2, 37, 2, 8, 6


@pytest.fixture(scope="module")
def ops():
    """The operators of the stand-in by their names, and nothing of it left among the modules afterwards."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "fla"}
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, str(STAND_IN))
    try:
        import fla.ops

        yield fla.ops
    finally:
        sys.path.remove(str(STAND_IN))
        for name in [name for name in sys.modules if name.partition(".")[0] == "fla"]:
            del sys.modules[name]
        sys.modules.update(before)


class Inputs:
    """Unit queries and keys, values, write strengths in (0, 1), and log decays per head and per channel."""

    def __init__(self):
        torch.manual_seed(0)
        self.q = F.normalize(torch.randn(BATCH, LENGTH, HEADS, KEYS), dim=-1)
        self.k = F.normalize(torch.randn(BATCH, LENGTH, HEADS, KEYS), dim=-1)
        self.v = torch.randn(BATCH, LENGTH, HEADS, VALUES)
        self.b = torch.rand(BATCH, LENGTH, HEADS)
        self.g = F.logsigmoid(torch.randn(BATCH, LENGTH, HEADS) + 2)
        self.a = self.g.exp()
        self.channel_g = F.logsigmoid(torch.randn(BATCH, LENGTH, HEADS, KEYS) + 2)


@pytest.fixture
def x():
    return Inputs()


def outer(left, right):
    return left[..., :, None] * right[..., None, :]


def read(state, query):
    return torch.einsum("bhkv,bhk->bhv", state, query)


def loop(x, step):
    """o_t = S_t^T q_t of a recurrence S_t = step(S_{t-1}, t)."""
    state, outputs = torch.zeros(BATCH, HEADS, KEYS, VALUES), []
    for t in range(LENGTH):
        state = step(state, t)
        outputs.append(read(state, x.q[:, t]))
    return torch.stack(outputs, 1)


def delta_step(state, k, v, b):
    return state + outer(b[..., None] * k, v - read(state, k))


def near(found, wanted):
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_every_operator_that_an_item_names_is_there_and_takes_the_arguments_that_it_is_given(ops):
    calls = 0
    for item in read_items(DOMAIN / "cognition.yaml"):
        for name, given in re.findall(r"\b(chunk_[a-z_]+)(?:\(([^\n]*?)\)\[0\])?", " ".join(item.body.split())):
            signature = inspect.signature(getattr(ops, name))
            if given:
                call = ast.parse(f"f({given})", mode="eval").body
                signature.bind(*call.args, **{keyword.arg: keyword.value for keyword in call.keywords})
                calls += 1
    assert calls >= 10


def test_channel_wise_decay_inside_the_delta_rule(ops, x):
    near(
        ops.chunk_kda(x.q, x.k, x.v, x.channel_g, x.b, scale=1.0)[0],
        loop(x, lambda s, t: delta_step(x.channel_g[:, t].exp()[..., None] * s, x.k[:, t], x.v[:, t], x.b[:, t])),
    )


def test_delta_rule(ops, x):
    near(
        ops.chunk_delta_rule(x.q, x.k, x.v, x.b, scale=1.0)[0],
        loop(x, lambda state, t: delta_step(state, x.k[:, t], x.v[:, t], x.b[:, t])),
    )


def test_chunkwise_delta_rule_by_one_triangular_solve(x):
    q, k, v, b = x.q.transpose(1, 2), x.k.transpose(1, 2), x.v.transpose(1, 2), x.b.transpose(1, 2)[..., None]
    start = torch.randn(BATCH, HEADS, KEYS, VALUES)
    system = torch.eye(LENGTH) + torch.tril(b * k @ k.mT, -1)
    solved = torch.linalg.solve_triangular(system, torch.cat([b * v, b * k], -1), upper=False, unitriangular=True)
    u, w = solved.split([VALUES, KEYS], -1)
    written = u - w @ start
    state, outputs = start, []
    for t in range(LENGTH):
        state = delta_step(state, x.k[:, t], x.v[:, t], x.b[:, t])
        outputs.append(read(state, x.q[:, t]))
    near((q @ start + torch.tril(q @ k.mT) @ written).transpose(1, 2), torch.stack(outputs, 1))
    near(start + k.mT @ written, state)


def test_gated_delta_rule_decays_before_it_erases(ops, x):
    near(
        ops.chunk_gated_delta_rule(x.q, x.k, x.v, g=x.g, beta=x.b, scale=1.0)[0],
        loop(x, lambda s, t: delta_step(x.a[:, t, :, None, None] * s, x.k[:, t], x.v[:, t], x.b[:, t])),
    )


def test_separate_strengths_for_erasing_and_for_writing(ops, x):
    share = torch.rand(HEADS)
    erase = x.b * share
    found = ops.chunk_gated_delta_rule(x.q, x.k, x.v * (x.a / share)[..., None], g=x.g, beta=erase / x.a, scale=1.0)[0]

    def step(state, t):
        erased = outer(erase[:, t, :, None] * x.k[:, t], read(state, x.k[:, t]))
        return x.a[:, t, :, None, None] * state - erased + outer(x.b[:, t, :, None] * x.k[:, t], x.v[:, t])

    near(found, loop(x, step))


def test_several_householder_steps_per_token(ops, x):
    steps = 2
    k = F.normalize(torch.randn(BATCH, LENGTH, steps, HEADS, KEYS), dim=-1)
    v, b = torch.randn(BATCH, LENGTH, steps, HEADS, VALUES), 2 * torch.rand(BATCH, LENGTH, steps, HEADS)
    q, g = torch.zeros_like(k), torch.zeros_like(b)
    q[:, :, -1], g[:, :, 0] = x.q, x.g
    long = ops.chunk_gated_delta_rule(
        *(part.flatten(1, 2) for part in (q, k, v)), g=g.flatten(1, 2), beta=b.flatten(1, 2), scale=1.0
    )[0]

    def step(state, t):
        state = x.a[:, t, :, None, None] * state
        for j in range(steps):
            state = delta_step(state, k[:, t, j], v[:, t, j], b[:, t, j])
        return state

    near(long[:, steps - 1 :: steps], loop(x, step))


def test_an_implicit_update_is_the_minimiser():
    torch.manual_seed(0)
    state, k, v, b = torch.randn(KEYS, VALUES), 3 * torch.randn(KEYS), torch.randn(VALUES), 0.7
    minimiser = torch.linalg.solve(torch.eye(KEYS) + b * outer(k, k), state + b * outer(k, v))
    near(state + b / (1 + b * k @ k) * outer(k, v - state.T @ k), minimiser)


def test_denominator_as_one_more_value_channel(ops, x):
    q, k = F.elu(x.q) + 1, F.elu(x.k) + 1
    ones = torch.ones(BATCH, LENGTH, HEADS, 1)
    found = ops.chunk_simple_gla(q, k, torch.cat([x.v, ones], -1), scale=1.0)[0]
    weights = torch.einsum("bihd,bjhd->bhij", q, k).tril()
    near(
        found[..., :-1] / found[..., -1:],
        torch.einsum("bhij,bjhv->bihv", weights / weights.sum(-1, keepdim=True), x.v),
    )


def test_key_tied_to_the_forget_gate(ops, x):
    g = x.channel_g
    near(
        ops.chunk_gla(x.q, -torch.expm1(g), x.v, g, scale=1.0)[0],
        loop(x, lambda s, t: g[:, t].exp()[..., None] * s + outer(1 - g[:, t].exp(), x.v[:, t])),
    )


def test_logarithm_of_a_refined_gate():
    torch.manual_seed(0)
    f, r = torch.rand(1000), torch.rand(1000)
    near((f.log() + (f + 2 * r * (1 - f)).log()).exp(), r * (1 - (1 - f) ** 2) + (1 - r) * f**2)


def test_rotations_by_cumulative_phase_hold_the_difference(x):
    phase = torch.randn(LENGTH).cumsum(0)
    cos, sin = phase.cos()[None, :, None, None], phase.sin()[None, :, None, None]
    half = KEYS // 2

    def rotated(y):
        return torch.cat([y[..., :half] * cos - y[..., half:] * sin, y[..., :half] * sin + y[..., half:] * cos], -1)

    def as_complex(y):
        return torch.complex(y[..., :half], y[..., half:])

    turned = torch.exp(1j * (phase[:, None] - phase))[None, :, :, None, None]
    wanted = (as_complex(x.q)[:, :, None] * as_complex(x.k)[:, None].conj() * turned).sum(-1).real
    near(torch.einsum("bihd,bjhd->bijh", rotated(x.q), rotated(x.k)), wanted)


def test_bonus_for_the_current_token_in_the_published_order(ops, x):
    bonus, g = torch.randn(HEADS, KEYS), x.channel_g
    shifted = torch.cat([torch.zeros(BATCH, 1, HEADS, KEYS), g[:, :-1]], 1)
    own = (x.q * (bonus * x.k - x.k * torch.exp(-g))).sum(-1, keepdim=True) * x.v
    state, wanted = torch.zeros(BATCH, HEADS, KEYS, VALUES), []
    for t in range(LENGTH):
        wanted.append(read(state + bonus[..., None] * outer(x.k[:, t], x.v[:, t]), x.q[:, t]))
        state = g[:, t].exp()[..., None] * state + outer(x.k[:, t], x.v[:, t])
    near(ops.chunk_gla(x.q, x.k * torch.exp(-g), x.v, shifted, scale=1.0)[0] + own, torch.stack(wanted, 1))


def test_gated_slots_in_two_passes(ops, x):
    slots = 5
    g = F.logsigmoid(torch.randn(BATCH, LENGTH, HEADS, slots)) / 8
    s, sums = -torch.expm1(g), g.cumsum(1)
    future = ~torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    decay = (sums[:, :, None] - sums[:, None]).masked_fill(future[None, :, :, None, None], -torch.inf).exp()
    scores = torch.einsum("bihd,bjhd,bijhm,bjhm->bihm", x.q, x.k, decay, s)
    found = ops.chunk_gla(scores.softmax(-1), s, x.v, g, scale=1.0)[0]
    keys, values, wanted = torch.zeros(BATCH, HEADS, slots, KEYS), torch.zeros(BATCH, HEADS, slots, VALUES), []
    for t in range(LENGTH):
        kept = g[:, t].exp()[..., None]
        keys = kept * keys + (1 - kept) * x.k[:, t][:, :, None]
        values = kept * values + (1 - kept) * x.v[:, t][:, :, None]
        weights = torch.einsum("bhmk,bhk->bhm", keys, x.q[:, t]).softmax(-1)
        wanted.append(torch.einsum("bhmv,bhm->bhv", values, weights))
    near(found, torch.stack(wanted, 1))


def test_cosine_reweighting_is_two_linear_attentions(x):
    longest, places = 130, torch.arange(LENGTH)
    angle = torch.pi * places / (2 * longest)
    cos, sin = angle.cos()[None, :, None, None], angle.sin()[None, :, None, None]
    doubled = [torch.cat([y * cos, y * sin], -1) for y in (x.q, x.k)]
    weight = torch.cos(torch.pi / 2 * (places[:, None] - places) / longest)[None, :, :, None]
    near(torch.einsum("bihd,bjhd->bijh", *doubled), torch.einsum("bihd,bjhd->bijh", x.q, x.k) * weight)


def test_second_order_taylor_features_with_the_triangle():
    torch.manual_seed(0)
    width = 16
    rows, columns = torch.triu_indices(width, width)
    weight = torch.where(rows == columns, 0.5**0.5, 1.0)

    def features(y):
        return torch.cat([torch.ones(len(y), 1), y, y[:, rows] * y[:, columns] * weight], -1)

    left, right = torch.randn(50, width), torch.randn(50, width)
    assert features(left).shape[1] == 153
    product = (left * right).sum(-1)
    near((features(left) * features(right)).sum(-1), 1 + product + product**2 / 2)


def test_regression_by_conjugate_gradients_over_all_tokens(ops, x):
    ridge = torch.full((KEYS,), 1.0)

    def product(y):
        return ops.chunk_simple_gla(y, x.k, x.k * x.b[..., None], g=x.g, scale=1.0)[0] + ridge * y

    solution, rest = torch.zeros_like(x.q), x.q.clone()
    direction, squared = rest.clone(), (rest * rest).sum(-1, keepdim=True)
    for _ in range(KEYS):
        applied = product(direction)
        length = squared / ((direction * applied).sum(-1, keepdim=True) + 1e-12)
        solution, rest = solution + length * direction, rest - length * applied
        new = (rest * rest).sum(-1, keepdim=True)
        direction, squared = rest + new / (squared + 1e-12) * direction, new
    found = ops.chunk_simple_gla(solution, x.k, x.v * x.b[..., None], g=x.g, scale=1.0)[0]
    h, cross, wanted = torch.zeros(BATCH, HEADS, KEYS, KEYS), torch.zeros(BATCH, HEADS, KEYS, VALUES), []
    for t in range(LENGTH):
        a, b = x.a[:, t, :, None, None], x.b[:, t, :, None, None]
        h, cross = a * h + b * outer(x.k[:, t], x.k[:, t]), a * cross + b * outer(x.k[:, t], x.v[:, t])
        wanted.append(read(cross, torch.linalg.solve(h + torch.diag(ridge), x.q[:, t])))
    near(found, torch.stack(wanted, 1))


def test_momentum_of_additive_writes_is_a_difference_of_two_scans(ops, x):
    slow, fast = 0.95, 0.6

    def scan(decay):
        g = torch.full((BATCH, LENGTH, HEADS), decay).log()
        return ops.chunk_simple_gla(x.q, x.k, x.v, g=g, scale=1.0)[0]

    state = momentum = torch.zeros(BATCH, HEADS, KEYS, VALUES)
    wanted = []
    for t in range(LENGTH):
        momentum = fast * momentum + outer(x.k[:, t], x.v[:, t])
        state = slow * state + momentum
        wanted.append(read(state, x.q[:, t]))
    near((slow * scan(slow) - fast * scan(fast)) / (slow - fast), torch.stack(wanted, 1))


def test_gradients_at_the_start_of_a_mini_batch():
    torch.manual_seed(0)
    start, q, k, v = torch.randn(KEYS, VALUES), torch.randn(5, KEYS), torch.randn(5, KEYS), torch.randn(5, VALUES)
    rate = torch.rand(5)
    error = k @ start - v
    state, wanted = start, []
    for t in range(5):
        state = state - rate[t] * outer(k[t], error[t])
        wanted.append(q[t] @ state)
    near(q @ start - (torch.tril(q @ k.T) * rate) @ error, torch.stack(wanted))


def test_scan_by_doubling():
    torch.manual_seed(0)
    decay, given = torch.rand(LENGTH), torch.randn(LENGTH)
    wanted = [given[0]]
    for t in range(1, LENGTH):
        wanted.append(decay[t] * wanted[-1] + given[t])
    step = 1
    while step < LENGTH:
        given = given + decay * F.pad(given, (step, 0))[:LENGTH]
        decay = decay * F.pad(decay, (step, 0), value=1.0)[:LENGTH]
        step *= 2
    near(given, torch.stack(wanted))


def test_bias_of_softplus_for_a_wanted_step_size():
    wanted = torch.linspace(0.001, 0.1, 9)
    near(F.softplus(wanted + torch.log(-torch.expm1(-wanted))), wanted)


def test_rectified_softmax_with_the_maximum_subtracted():
    torch.manual_seed(0)
    scores = torch.randn(7)
    most = scores.max()
    shifted = (scores - most).exp() - (-most).exp()
    near(F.relu(shifted) / shifted.abs().sum(), F.relu(scores.exp() - 1) / (scores.exp() - 1).abs().sum())
