import json
import sys

try:
    with open(f"{sys.argv[1]}/outputs/number.json") as stream:
        value = json.load(stream)
    if type(value) not in (int, float) or not -1e300 < value <= 100:  # false for NaN, and exact for any int
        result = {"invalid": f"Expected a finite number up to 100, but got {str(value)[:50]}."}
    else:
        result = {"metrics": {"value": float(value)}}
except (ValueError, RecursionError) as error:
    result = {"invalid": f"Expected JSON, but {error}."}
with open(f"{sys.argv[1]}/result/metrics.json", "w") as stream:
    json.dump(result, stream)
