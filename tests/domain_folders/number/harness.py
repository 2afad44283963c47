import json
import sys

sys.path.insert(0, "/job/candidate")
with open("/job/params.json") as stream:
    params = json.load(stream)
from number import number

with open("/job/out/number.json", "w") as stream:
    json.dump(number(params["seed"]), stream)
