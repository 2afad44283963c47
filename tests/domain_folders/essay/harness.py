import json
import sys

sys.path.insert(0, sys.argv[1] + "/candidate")
from essay import essay

job = sys.argv[1]
with open(f"{job}/params.json") as stream:
    params = json.load(stream)
with open(f"{job}/out/essay.txt", "w") as stream:
    stream.write(essay(params["seed"]))
