import json
import sys

sys.path.insert(0, sys.argv[1] + "/candidate")
from rival import measure

job = sys.argv[1]
with open(f"{job}/params.json") as stream:
    params = json.load(stream)
with open(f"{job}/out/numbers.json", "w") as stream:
    json.dump({"told": params, **measure(params["seed"], params["stage"])}, stream)
