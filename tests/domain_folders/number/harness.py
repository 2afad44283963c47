import json
import sys

job = sys.argv[1]
sys.path.insert(0, f"{job}/candidate")
with open(f"{job}/params.json") as stream:
    params = json.load(stream)
from number import number

with open(f"{job}/out/number.json", "w") as stream:
    json.dump(number(params["seed"]), stream)
