import json
import math
import sys
from pathlib import Path

import numpy as np

job = Path(sys.argv[1])


def claimed():
    try:
        value = json.loads((job / "outputs" / "claim.json").read_text())["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return float(value) if type(value) is float and math.isfinite(value) else None


def judge():
    with np.load(job / "outputs" / "predictions.npz") as arrays:
        predictions = arrays["y"]
    with np.load(job / "hidden" / "points.npz") as points:
        labels = points["y"]
    if not np.isfinite(predictions).all() or np.abs(predictions).max() > 1e6:
        return {"invalid": "Expected finite predictions up to 1e6, but some are not."}
    claim = claimed()
    if claim is None:
        return {"invalid": "Expected claim.json to hold a finite error, but it does not."}
    return {"metrics": {"error": float(np.sqrt(np.mean((predictions - labels) ** 2))), "claimed": claim}}


(job / "result" / "metrics.json").write_text(json.dumps(judge()))
