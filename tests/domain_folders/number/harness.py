import json
import sys

sys.path.insert(0, sys.argv[1] + "/candidate")
from number import number

job = sys.argv[1]
with open(f"{job}/params.json") as stream:
    params = json.load(stream)
with open(f"{job}/out/number.json", "w") as stream:
    json.dump(number(params["seed"]), stream)
