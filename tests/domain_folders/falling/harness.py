import json
import os
import sys

sys.path.insert(0, "/job/candidate")
with open("/job/params.json") as stream:
    params = json.load(stream)
from curve import loss

STEPS = 40
losses = []
with open("/job/out/progress.jsonl", "a", buffering=1) as progress:
    for step in range(1, STEPS + 1):
        losses.append(float(loss(step, params["seed"])))
        with open("/job/out/next.json", "w") as stream:
            json.dump(losses, stream)
        os.replace("/job/out/next.json", "/job/out/losses.json")
        progress.write(json.dumps({"step": step, "of": STEPS, "loss": losses[-1]}) + "\n")
