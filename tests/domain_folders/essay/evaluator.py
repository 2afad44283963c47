import json
import sys

try:
    with open(f"{sys.argv[1]}/outputs/essay.txt", encoding="utf-8") as stream:
        words = {word for word in stream.read().lower().split() if word.isalpha()}
    result = {"metrics": {"words": float(len(words))}} if words else {"invalid": "Expected words, but got none."}
except ValueError as error:
    result = {"invalid": f"Expected text in UTF-8, but {error}."}
with open(f"{sys.argv[1]}/result/metrics.json", "w") as stream:
    json.dump(result, stream)
