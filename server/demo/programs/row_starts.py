"""Sequential linear programming from many shaken layouts of five rows.

A step solves a linear program for the moves of all centres and for all radii at once. The distance of two centres is
convex in their moves, so its linearisation never promises more room than there is: every step lands on a packing that
holds, and the step width is the only thing to control.
"""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

N = 26
FIRST, SECOND = np.triu_indices(N, 1)
EVERY = np.arange(N)
SEED = 24
STARTS = 80
SHAKE = 0.02


def construct_packing():
    rng = np.random.default_rng(SEED)
    starts = [shaken_rows(rng, number % 5) for number in range(STARTS)]
    centers, radii = max(map(climb, starts), key=lambda packing: packing[1].sum())
    radii = radii_that_hold(centers, radii)
    return centers, radii, float(radii.sum())


def shaken_rows(rng, long_row):
    """Five rows of five, one of which has a sixth circle."""
    rows = []
    for row in range(5):
        count = 6 if row == long_row else 5
        rows += [((column + 0.5) / count, (row + 0.5) / 5) for column in range(count)]
    return np.clip(np.array(rows) + rng.normal(0, SHAKE, (N, 2)), 0.03, 0.97)


def climb(centers, step=0.1, finest=0.01):
    """Step uphill, with shorter steps where they gain little. At a locked packing the last steps converge like Newton's
    method, so that there is no need for very short ones."""
    radii = np.zeros(N)
    while step > finest:
        moved, grown = best_step(centers, radii, step)
        gain = grown.sum() - radii.sum()
        if gain > 0:
            centers, radii = moved, grown
        if gain < 1e-4:
            step /= 2.5
    return centers, radii


def best_step(centers, radii, step):
    """Centres and radii after the best step of at most `step` in each coordinate, to first order."""
    matrix, room = linear_constraints(centers, radii, step)
    answer = linprog(
        np.concatenate([np.zeros(2 * N), -np.ones(N)]),
        A_ub=matrix,
        b_ub=room,
        bounds=[(-step, step)] * (2 * N) + [(0, 0.5)] * N,
        method="highs",
    )
    if answer.x is None:
        return centers, radii
    moves = np.column_stack([answer.x[:N], answer.x[N : 2 * N]])
    return np.clip(centers + moves, 0, 1), answer.x[2 * N :]


def linear_constraints(centers, radii, step):
    """Sides and near pairs as `matrix @ (dx, dy, r) <= room`."""
    delta = centers[FIRST] - centers[SECOND]
    gaps = np.maximum(np.hypot(delta[:, 0], delta[:, 1]), 1e-9)
    near = np.flatnonzero(gaps < radii[FIRST] + radii[SECOND] + 0.1 + 4 * step)
    i, j, gaps = FIRST[near], SECOND[near], gaps[near]
    ux, uy = (delta[near] / gaps[:, None]).T
    one, pairs = np.ones(N), len(near)
    line = np.arange(pairs)
    side = [pairs + number * N + EVERY for number in range(4)]
    entries = [
        (line, i, -ux), (line, j, ux), (line, N + i, -uy), (line, N + j, uy),
        (line, 2 * N + i, np.ones(pairs)), (line, 2 * N + j, np.ones(pairs)),
        (side[0], EVERY, -one), (side[1], EVERY, one), (side[2], N + EVERY, -one), (side[3], N + EVERY, one),
        *((rows, 2 * N + EVERY, one) for rows in side),
    ]  # fmt: skip
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    x, y = centers.T
    room = np.concatenate([gaps, x, 1 - x, y, 1 - y])
    return csr_matrix((values, (rows, columns)), shape=(len(room), 3 * N)), room


def radii_that_hold(centers, radii):
    """Take off all radii what the worst constraint is broken by: the solver works to 1e-7 only."""
    delta = centers[FIRST] - centers[SECOND]
    pairs = np.hypot(delta[:, 0], delta[:, 1]) - radii[FIRST] - radii[SECOND]
    sides = np.minimum(centers, 1 - centers).min(axis=1) - radii
    return np.maximum(0, radii + min(0.0, pairs.min(), sides.min()) - 1e-12)
