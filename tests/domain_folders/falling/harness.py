import json
import os
import sys

sys.path.insert(0, sys.argv[1] + "/candidate")
from curve import loss

STEPS = 40
job = sys.argv[1]
with open(f"{job}/params.json") as stream:
    params = json.load(stream)
losses = []
with open(f"{job}/out/progress.jsonl", "a", buffering=1) as progress:
    for step in range(1, STEPS + 1):
        losses.append(float(loss(step, params["seed"])))
        with open(f"{job}/out/next.json", "w") as stream:
            json.dump(losses, stream)
        os.replace(f"{job}/out/next.json", f"{job}/out/losses.json")
        progress.write(json.dumps({"step": step, "of": STEPS, "loss": losses[-1]}) + "\n")
