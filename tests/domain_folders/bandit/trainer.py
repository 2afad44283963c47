import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, sys.argv[1] + "/channel")
from channel import Candidate, CandidateFailed

job = Path(sys.argv[1])
params = json.loads((job / "params.json").read_text())
sizes = params["parameters"]
random = np.random.default_rng(params["hidden_seed"])
arms = random.permutation(np.linspace(0.1, 0.9, sizes["arms"]))
candidate = Candidate(timeout=60)
logits = np.zeros(sizes["arms"])
expected = []
for _ in range(sizes["steps"]):
    policy = np.exp(logits - logits.max())
    policy /= policy.sum()
    expected.append(policy @ arms)
    actions = random.choice(sizes["arms"], sizes["batch"], p=policy)
    rewards = (random.random(sizes["batch"]) < arms[actions]).astype(np.float64)
    answer = candidate.call(
        "update",
        {"logits": logits, "actions": actions, "rewards": rewards},
        timeout=10,
        expect={"value": ("float64", logits.shape)},
    )
    change = answer["value"]
    if not np.isfinite(change).all():
        raise CandidateFailed("Expected a finite update, but it is not.")
    logits += change / max(1.0, np.linalg.norm(change))
np.savez(job / "out" / "rewards.npz", expected=np.array(expected))
