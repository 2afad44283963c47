"""A circle without size whose centre lies outside the square by less than what is shrunk away."""


def construct_packing() -> tuple[list[tuple[float, float]], list[float], float]:
    centers = [(0.1 + 0.2 * i, 0.1 + 0.2 * j) for i in range(5) for j in range(5)] + [(0.2, 0.2)]
    radii = [0.0999] * 25 + [0.0]
    centers[25] = (-1e-12, 0.2)
    return centers, radii, sum(radii)
