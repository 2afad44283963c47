"""Equal circles in staggered rows of five and six, stretched to fill the square."""

import numpy as np

ROWS = (5, 5, 6, 5, 5)


def construct_packing():
    centers = staggered_rows(ROWS)
    radii = radii_for(centers)
    return centers, radii, float(radii.sum())


def staggered_rows(rows):
    """Rows at equal heights; each is shifted against the one below it by half a gap."""
    margin = 0.5 / len(rows)
    heights = np.linspace(margin, 1 - margin, len(rows))
    centers = []
    for number, (count, height) in enumerate(zip(rows, heights, strict=True)):
        shift = 0.02 if number % 2 else -0.02
        centers += [(x + shift, height) for x in np.linspace(margin + 0.02, 1 - margin - 0.02, count)]
    return np.array(centers)


def radii_for(centers):
    """The largest radius that all circles can have."""
    gaps = np.linalg.norm(centers[:, None] - centers[None, :], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    largest = min(gaps.min() / 2, centers.min(), (1 - centers).min())
    return np.full(len(centers), largest * (1 - 1e-12))
