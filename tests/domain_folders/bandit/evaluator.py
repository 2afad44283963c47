import json
import sys
from pathlib import Path

import numpy as np

job = Path(sys.argv[1])
with np.load(job / "outputs" / "rewards.npz") as arrays:
    expected = arrays["expected"]
if np.isfinite(expected).all() and (expected >= 0).all() and (expected <= 1).all():
    reward = float(expected[-max(1, len(expected) // 10) :].mean())
    result = {"metrics": {"reward": reward, "regret": 0.9 - reward}}
else:
    result = {"invalid": "Expected rewards from 0 to 1, but some are not."}
(job / "result" / "metrics.json").write_text(json.dumps(result))
