def loss(step: int, seed: int) -> float:
    return 10.0 / step + seed / 100
