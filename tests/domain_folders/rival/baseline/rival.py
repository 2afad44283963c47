def measure(seed, stage):
    return {"loss": 1.0 + 0.1 * (seed % 3 - 1), "cost": 1.0}
