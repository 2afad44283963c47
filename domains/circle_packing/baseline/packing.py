"""Two rings around a centre: the plain layout that the search starts from."""

import numpy as np


def construct_packing(n: int = 26) -> tuple[np.ndarray, np.ndarray, float]:
    centers = ring_layout(n)
    radii = largest_equal_radius(centers) * np.ones(n)
    return centers, radii, float(radii.sum())


def ring_layout(n: int) -> np.ndarray:
    """One circle in the middle, half of the rest on an inner ring and the others on an outer ring."""
    inner = (n - 1) // 2
    outer = n - 1 - inner
    return np.vstack([[(0.5, 0.5)], ring(inner, 1 / 7), ring(outer, 1 / 3)])


def ring(count: int, distance: float) -> np.ndarray:
    angles = 2 * np.pi * np.arange(count) / count
    return 0.5 + distance * np.column_stack([np.cos(angles), np.sin(angles)])


def largest_equal_radius(centers: np.ndarray) -> float:
    """Half the smallest distance of two centres, or the smallest distance to a side if that is less."""
    gaps = np.linalg.norm(centers[:, None] - centers[None, :], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    return float(min(gaps.min() / 2, centers.min(), 1 - centers.max())) * (1 - 1e-12)
