"""The recurrences one token at a time: what `_chunked` has to equal, and what it cannot do.

For gates on the values or a beta per value dimension there is no chunked form here: those run through this loop and
are slow.
"""

from __future__ import annotations

import torch
from torch import Tensor


def recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None = None,
    gates: tuple[Tensor, ...] = (),
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """S = exp(gates) S; S += k u^T with u = v, or beta (v - S^T k) where there is a beta; o = S^T q.

    q, k: (batch, heads, length, K); v: (batch, heads, length, V); beta: (batch, heads, length, 1 or V);
    gates: each in log space, (batch, heads, length, 1 or K, 1 or V); state: None or (batch, heads, K, V).
    Returns outputs (batch, heads, length, V) and the final state.
    """
    if state is None:
        state = k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1])
    outputs = []
    for t in range(q.shape[2]):
        for gate in gates:
            state = state * gate[:, :, t].exp()
        update = v[:, :, t]
        if beta is not None:
            update = beta[:, :, t] * (update - (k[:, :, t].unsqueeze(-2) @ state).squeeze(-2))
        state = state + k[:, :, t].unsqueeze(-1) * update.unsqueeze(-2)
        outputs.append((q[:, :, t].unsqueeze(-2) @ state).squeeze(-2))
    return torch.stack(outputs, 2), state
