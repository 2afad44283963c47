"""How tests come by the programs of the domain: its folder on sys.path, and a job folder that is worked through."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from asi_evolve import domains

FOLDER = Path(domains.__file__).parent / "linear_attention"
HERE = Path(__file__).parent
BASELINE = FOLDER / "baseline" / "mixer.py"

# Few steps on few rows: everything that explore does, in some seconds.
SHORT = {
    "tasks": "recall lm",
    "steps": 8,
    "lm_steps": 6,
    "batch": 8,
    "lm_batch": 4,
    "lm_length": 64,
    "width": 32,
    "mlp_width": 64,
    "pace_batch": 2,
    "pace_length": 64,
    "audit_rows": 16,
    "lm_audit_rows": 16,
    "lm_train_bytes": 60_000,
    "lm_held_out_bytes": 30_000,
}


class Job:
    """A job folder: generator, harness, predict and evaluator one after the other, as the Engineer starts them."""

    def __init__(self, path, candidate, *, seed=0, is_baseline=False, **changed):
        self.path = path
        for name in ("candidate", "out", "checkpoint", "outputs", "result"):
            (path / name).mkdir(parents=True)
        if isinstance(candidate, str):
            (path / "candidate" / "mixer.py").write_text(candidate)
        else:
            shutil.copy(candidate, path / "candidate" / "mixer.py")
        domain = tomllib.loads((FOLDER / "domain.toml").read_text())
        explore = next(stage for stage in domain["stages"] if stage["name"] == "explore")
        parameters = {**domain["instances"]["default"], **explore["parameters"], **SHORT, **changed}
        params = {
            "stage": "explore",
            "seed": seed,
            "instance": "default",
            "entry": "mixer.py",
            "parameters": parameters,
            "hidden_seed": 1234,
            "is_baseline": is_baseline,
            "baseline": {},
        }
        (path / "params.json").write_text(json.dumps(params))

    def start(self, script):
        """Run one program; what it printed to stderr and its status."""
        command = [sys.executable, "-s", "-B", str(FOLDER / script), str(self.path)]
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
        return ended.stderr, ended.returncode

    def generate(self):
        stderr, status = self.start("generator.py")
        assert status == 0, stderr
        for made in list((self.path / "out").iterdir()):
            made.rename(self.path / made.name)

    def fit(self):
        return self.start("harness.py")

    def judge(self):
        """Predict and evaluate; the evaluator's answer."""
        stderr, status = self.start("predict.py")
        assert status == 0, stderr
        for made in list((self.path / "out").iterdir()):
            made.rename(self.path / "outputs" / made.name)
        stderr, status = self.start("evaluator.py")
        assert status == 0, stderr
        return json.loads((self.path / "result" / "metrics.json").read_text())

    def run(self):
        """All of it, for a candidate whose fit ends well."""
        self.generate()
        stderr, status = self.fit()
        assert status == 0, stderr
        return self.judge()

    @property
    def report(self):
        return json.loads((self.path / "out" / "report.json").read_text())

    @property
    def progress(self):
        lines = (self.path / "out" / "progress.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]
