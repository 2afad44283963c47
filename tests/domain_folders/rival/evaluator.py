import json
import sys

job = sys.argv[1]
with open(f"{job}/params.json") as stream:
    params = json.load(stream)
with open(f"{job}/result/params.json", "w") as stream:
    json.dump(params, stream)


def judge(numbers):
    if not isinstance(numbers, dict) or not isinstance(numbers.pop("told", {}), dict) or len(numbers) != 2:
        return {"invalid": "Expected an object of two numbers."}
    for name, value in numbers.items():
        if name not in ("loss", "cost") or type(value) not in (int, float) or not -1e6 < value < 1e6:
            return {"invalid": "Expected loss and cost, between -1e6 and 1e6."}
    if params["stage"] == "check":
        return {"metrics": {"score": 0.0}}
    return {"metrics": {name: float(value) for name, value in numbers.items()}}


try:
    with open(f"{job}/outputs/numbers.json") as stream:
        result = judge(json.load(stream))
except (ValueError, RecursionError) as error:
    result = {"invalid": f"Expected JSON, but {error}."}
with open(f"{job}/result/metrics.json", "w") as stream:
    json.dump(result, stream)
