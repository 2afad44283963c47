"""Centres and radii together: SLSQP with analytic Jacobians, from a grid that is shaken a little."""

import numpy as np
from scipy.optimize import minimize

N = 26
FIRST, SECOND = np.triu_indices(N, 1)
PAIRS = np.arange(len(FIRST))
SEED = 3


def construct_packing():
    centers, radii = optimise(shaken_grid(np.random.default_rng(SEED)))
    return centers, radii, float(radii.sum())


def shaken_grid(rng):
    ticks = np.linspace(0.1, 0.9, 5)
    grid = np.array([*((x, y) for x in ticks for y in ticks), (0.4, 0.4)])
    return np.clip(grid + rng.normal(0, 0.04, grid.shape), 0.02, 0.98)


def optimise(centers):
    """The local optimum near these centres; the variables are all x, then all y, then all r."""
    start = np.concatenate([centers[:, 0], centers[:, 1], np.full(N, 0.05)])
    uphill = np.concatenate([np.zeros(2 * N), -np.ones(N)])
    found = minimize(
        lambda z: -z[2 * N :].sum(),
        start,
        jac=lambda _: uphill,
        bounds=[(0, 1)] * (2 * N) + [(0, 0.5)] * N,
        constraints={"type": "ineq", "fun": room, "jac": room_jacobian},
        method="SLSQP",
        options={"maxiter": 150, "ftol": 1e-10},
    ).x
    centers, radii = np.column_stack([found[:N], found[N : 2 * N]]), found[2 * N :]
    return centers, radii_that_hold(centers, radii)


def room(z):
    """What is left of every constraint: sides first, then pairs."""
    x, y, r = z[:N], z[N : 2 * N], z[2 * N :]
    gaps = np.hypot(x[FIRST] - x[SECOND], y[FIRST] - y[SECOND])
    return np.concatenate([x - r, 1 - x - r, y - r, 1 - y - r, gaps - r[FIRST] - r[SECOND]])


def room_jacobian(z):
    x, y = z[:N], z[N : 2 * N]
    one, none = np.eye(N), np.zeros((N, N))
    sides = np.block([[one, none, -one], [-one, none, -one], [none, one, -one], [none, -one, -one]])
    dx, dy = x[FIRST] - x[SECOND], y[FIRST] - y[SECOND]
    gaps = np.maximum(np.hypot(dx, dy), 1e-12)
    pairs = np.zeros((len(PAIRS), 3 * N))
    pairs[PAIRS, FIRST], pairs[PAIRS, SECOND] = dx / gaps, -dx / gaps
    pairs[PAIRS, N + FIRST], pairs[PAIRS, N + SECOND] = dy / gaps, -dy / gaps
    pairs[PAIRS, 2 * N + FIRST] = pairs[PAIRS, 2 * N + SECOND] = -1
    return np.vstack([sides, pairs])


def radii_that_hold(centers, radii):
    """Take off all radii what the worst constraint is broken by."""
    worst = room(np.concatenate([centers[:, 0], centers[:, 1], radii])).min()
    return np.maximum(0, radii - max(0.0, -worst) - 1e-12)
