"""A grid of five by five circles and a 26th in one of its holes, with the radii of largest sum."""

import numpy as np
from scipy.optimize import linprog


def construct_packing():
    centers = grid_with_one_more()
    radii = radii_for(centers)
    return centers, radii, float(radii.sum())


def grid_with_one_more():
    ticks = np.linspace(0.1, 0.9, 5)
    grid = [(x, y) for x in ticks for y in ticks]
    return np.array([*grid, (0.4, 0.4)])


def radii_for(centers):
    """The radii of largest sum at fixed centres, by linear programming."""
    n = len(centers)
    first, second = np.triu_indices(n, 1)
    pairs = np.zeros((len(first), n))
    pairs[np.arange(len(first)), first] = pairs[np.arange(len(first)), second] = 1
    gaps = np.linalg.norm(centers[first] - centers[second], axis=1)
    walls = np.minimum(centers, 1 - centers).min(axis=1)
    bounds = [(0, wall) for wall in walls]
    radii = linprog(-np.ones(n), A_ub=pairs, b_ub=gaps, bounds=bounds, method="highs").x
    return np.maximum(0, radii - 1e-7)
