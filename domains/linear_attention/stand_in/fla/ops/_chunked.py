"""Linear attention and the delta rule, chunk by chunk, in plain torch: the one core of every operator of the stand-in.

The recurrence of a head with keys of width K and values of width V is, for a state S of shape (K, V),

    S_t = diag(exp(g_t)) S_{t-1} + k_t u_t^T,    o_t = S_t^T q_t,
    u_t = v_t                                                    (linear attention, arXiv 2312.06635 eq. 3)
    u_t = beta_t (v_t - (diag(exp(g_t)) S_{t-1})^T k_t)          (delta rule, arXiv 2406.06484 eq. 2; gated, 2412.06464)

with g absent, one number per head or one per key dimension. Inside a chunk with G = cumsum(g) the u_t solve one
unit-triangular system (the WY form of arXiv 2406.06484, section 3.2):

    (I + L) u = beta v - beta (k exp(G)) S_0,    L_tj = beta_t <k_t exp(G_t - G_j), k_j> for j < t

which is factored once for all chunks; only the states are carried along by a loop, over chunks.
Gates stay in log space and every exponent is the sum of gates over a stretch of time: never above 0 if no gate is.

What this is not: a kernel. It computes in float32 (float64 for float64 inputs), also for bfloat16 inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 64
# Rows up to which products are formed element by element.
TINY = 4


def linear(q: Tensor, k: Tensor, v: Tensor, g: Tensor | None, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Linear attention with or without decay.

    q, k: (batch, heads, length, K); v: (batch, heads, length, V); g: None, (batch, heads, length) or (..., length, K);
    state: None or (batch, heads, K, V). Returns outputs (batch, heads, length, V) and the final state.
    """
    length = q.shape[2]
    q, k, v, g = _in_chunks(q, k, v, g)
    sums, last = _within(g)
    written = _from_start_to_end(k, sums, last).transpose(-1, -2) @ v
    before, final = _carry(written, last, _start(state, k, v))
    read = q if sums is None else q * _decay(sums, q)
    outputs = read @ before + _scores((q,), k, sums)[0] @ v
    return outputs.flatten(2, 3)[:, :, :length], final


def delta(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The delta rule with or without decay. beta: (batch, heads, length); the rest as for `linear`."""
    length, width = q.shape[2], v.shape[-1]
    q, k, v, g = _in_chunks(q, k, v, g)
    beta = _split(beta.unsqueeze(-1), k.shape[3])
    sums, last = _within(g)
    erased = k if sums is None else k * _decay(sums, k)
    # solve_triangular reads below the diagonal only: tril is for the gradient, which would come back full
    among_keys, read_keys = _scores((k, q), k, sums)
    system = (beta * among_keys).tril(-1)
    right = torch.cat([beta * v, beta * erased], -1)
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    values, erasers = solved[..., :width], solved[..., width:]
    before, updates, final = _carry_delta(
        values, erasers, _from_start_to_end(k, sums, last).transpose(-1, -2), last, _start(state, k, v)
    )
    read = q if sums is None else q * _decay(sums, q)
    outputs = read @ before + read_keys @ updates
    return outputs.flatten(2, 3)[:, :, :length], final


def _in_chunks(q: Tensor, k: Tensor, v: Tensor, g: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Time cut into chunks, (batch, heads, chunks, chunk, width); what is added at the end writes nothing."""
    chunk = min(CHUNK, 1 << (q.shape[2] - 1).bit_length())
    if g is not None:
        # exp of this is 0 as it is of anything below: no infinities, whose differences would be NaN
        g = g.clamp(min=-110.0 if g.dtype == torch.float32 else -750.0)
        g = _split(g if g.dim() == 4 else g.unsqueeze(-1), chunk)
    return _split(q, chunk), _split(k, chunk), _split(v, chunk), g


def _split(x: Tensor, chunk: int) -> Tensor:
    missing = -x.shape[2] % chunk
    if missing:
        x = functional.pad(x, (0, 0, 0, missing))
    return x.unflatten(2, (-1, chunk))


def _within(g: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Sums of gates from the start of the chunk to each position, (..., chunk, 1 or K), and over it whole.

    In float64: what counts is differences of them, small between neighbours late in a chunk.
    """
    if g is None:
        return None, None
    sums = g.double().cumsum(-2)
    return sums, sums[..., -1:, :]


def _decay(exponents: Tensor, like: Tensor) -> Tensor:
    return exponents.to(like.dtype).exp()


def _from_start_to_end(k: Tensor, sums: Tensor | None, last: Tensor | None) -> Tensor:
    """Keys as the end of the chunk sees them."""
    return k if sums is None or last is None else k * _decay(last - sums, k)


def _start(state: Tensor | None, k: Tensor, v: Tensor) -> Tensor:
    if state is not None:
        return state
    return k.new_zeros(k.shape[0], k.shape[1], k.shape[-1], v.shape[-1])


def _carry(written: Tensor, last: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
    """States at the start of each chunk, (batch, heads, chunks, K, V), and the one after the last."""
    if last is None:
        after = written.cumsum(2) + state.unsqueeze(2)
        return torch.cat([state.unsqueeze(2), after[:, :, :-1]], 2), after[:, :, -1]
    before = []
    decays = _decay(last, written).transpose(-1, -2)
    for decay, added in zip(decays.unbind(2), written.unbind(2), strict=True):
        before.append(state)
        state = torch.addcmul(added, decay, state)
    return torch.stack(before, 2), state


def _carry_delta(
    values: Tensor, erasers: Tensor, keys: Tensor, last: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """States at the start of each chunk, what each position writes (..., chunk, V), and the final state."""
    shape = state.shape
    values, erasers, keys = (x.flatten(0, 1) for x in (values, erasers, keys))
    decays = None if last is None else _decay(last, state).transpose(-1, -2).flatten(0, 1).unbind(1)
    state = state.flatten(0, 1)
    before, updates = [], []
    for i, (value, eraser, key) in enumerate(zip(values.unbind(1), erasers.unbind(1), keys.unbind(1), strict=True)):
        before.append(state)
        update = torch.baddbmm(value, eraser, state, alpha=-1)
        updates.append(update)
        state = torch.baddbmm(state if decays is None else state * decays[i], key, update)
    stacked = torch.stack(before, 1).unflatten(0, shape[:2])
    return stacked, torch.stack(updates, 1).unflatten(0, shape[:2]), state.view(shape)


def _scores(rows: tuple[Tensor, ...], keys: Tensor, sums: Tensor | None) -> list[Tensor]:
    """For each of `rows` <row_t exp(sums_t - sums_j), key_j> where j <= t, else 0: (..., chunk, chunk)."""
    if sums is None:
        return [(row @ keys.transpose(-1, -2)).tril() for row in rows]
    if sums.shape[-1] == 1:
        pairs = _pairs(sums.squeeze(-1), keys)
        return [row @ keys.transpose(-1, -2) * pairs for row in rows]
    return _scores_per_dimension(rows, keys, sums)


def _pairs(sums: Tensor, like: Tensor) -> Tensor:
    """exp(sums_t - sums_j) where j <= t, else 0, also where it would overflow: (..., chunk, chunk)."""
    length = sums.shape[-1]
    above = torch.ones(length, length, dtype=torch.bool, device=sums.device).triu(1)
    return _decay((sums.unsqueeze(-1) - sums.unsqueeze(-2)).masked_fill(above, -torch.inf), like)


def _scores_per_dimension(rows: tuple[Tensor, ...], keys: Tensor, sums: Tensor) -> list[Tensor]:
    """As `_scores` where each key dimension has its gate.

    exp(sums_t) times exp(-sums_j) would overflow. Instead blocks are joined two by two, and a pair that lies across a
    joint meets there: exp(sums_t - joint) exp(joint - sums_j), with neither exponent above 0 (cf. arXiv 2312.06635,
    section 4.3, which cuts once where this halves).
    """
    scores = [(row * keys).sum(-1)[..., None, None] for row in rows]
    size = 1
    while size < keys.shape[-2]:
        first, second = _halves(sums, size)
        joint = first[..., -1:, :]
        late = _decay(second - joint, keys)
        early = _halves(keys, size)[0] * _decay(joint - first, keys)
        scores = [
            _joined(score, _products(late * _halves(row, size)[1], early), size)
            for score, row in zip(scores, rows, strict=True)
        ]
        size *= 2
    return [score.squeeze(-3) for score in scores]


def _products(rows: Tensor, keys: Tensor) -> Tensor:
    """Each row with each key; many tiny matrix products take longer than the same element by element."""
    if rows.shape[-2] <= TINY:
        return (rows.unsqueeze(-2) * keys.unsqueeze(-3)).sum(-1)
    return rows @ keys.transpose(-1, -2)


def _joined(blocks: Tensor, across: Tensor, size: int) -> Tensor:
    """Lower-triangular blocks (..., 2 n, size, size) two by two, with what lies left of each second one."""
    first, second = blocks.unflatten(-3, (-1, 2)).unbind(-3)
    return torch.cat([functional.pad(first, (0, size)), torch.cat([across, second], -1)], -2)


def _halves(x: Tensor, size: int) -> tuple[Tensor, ...]:
    """(..., 2 n size, K) -> two of (..., n, size, K), in turn."""
    return x.unflatten(-2, (-1, 2, size)).unbind(-3)
