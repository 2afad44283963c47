import json
import sys
from pathlib import Path

job = Path(sys.argv[1])
runs = json.loads((job / "outputs" / "runs.json").read_text())
(job / "result" / "metrics.json").write_text(json.dumps({"metrics": {"pass_at_1": runs["pass_at_1"]}}))
