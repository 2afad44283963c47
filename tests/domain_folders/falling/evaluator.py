import json
import math
import sys

job = sys.argv[1]
try:
    with open(f"{job}/outputs/losses.json") as stream:
        losses = json.load(stream)
    if not isinstance(losses, list) or not losses or not all(type(x) is float and math.isfinite(x) for x in losses):
        result = {"invalid": "Expected a list of finite losses."}
    else:
        result = {"metrics": {"last": losses[-1]}}
except (ValueError, RecursionError) as error:
    result = {"invalid": f"Expected JSON, but {error}."}
with open(f"{job}/result/metrics.json", "w") as stream:
    json.dump(result, stream)
