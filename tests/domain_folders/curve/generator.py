import json
import sys
from pathlib import Path

import numpy as np

job = Path(sys.argv[1])
params = json.loads((job / "params.json").read_text())
sizes = params["parameters"]
random = np.random.default_rng(params["hidden_seed"])
n = sizes["n_train"] + sizes["n_test"]
x = random.uniform(-1, 1, n)
y = np.sin(3 * x) + 0.1 * random.normal(size=n)
train, test = slice(sizes["n_train"]), slice(sizes["n_train"], None)
for folder, arrays in {
    "train": {"x": x[train], "y": y[train]},
    "inputs": {"x": x[test]},
    "hidden": {"y": y[test]},
}.items():
    (job / "out" / folder).mkdir()
    np.savez(job / "out" / folder / "points.npz", **arrays)
