"""A circle that crosses a side by twice what is shrunk away."""


def construct_packing() -> tuple[list[tuple[float, float]], list[float], float]:
    centers = [(0.1 + 0.2 * i, 0.1 + 0.2 * j) for i in range(5) for j in range(5)] + [(0.2, 0.2)]
    radii = [0.0999] * 25 + [0.041]
    centers[0] = (0.0999 - 2e-9, 0.1)
    return centers, radii, sum(radii)
