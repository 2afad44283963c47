"""A whole campaign on linear_attention through a real client, with trainings cut short."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from asi_evolve import domains

pytest.importorskip("torch")
SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "linear_attention_campaign.py"
FOLDER = Path(domains.__file__).parent / "linear_attention"


def shortened(folder: Path) -> Path:
    """The domain with a few steps at each stage, and a verify as small as explore."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    toml = folder / "domain.toml"
    text = re.sub(r"(?m)^((?:\w+_)?steps) = \d+", r"\1 = 4", toml.read_text())
    large, small = (
        "width = 128\nlayers = 4\nheads = 2\nmlp_width = 256",
        "width = 64\nlayers = 2\nheads = 1\nmlp_width = 128",
    )
    assert large in text
    text = text.replace(large, small)
    toml.write_text(text.replace("baseline_seeds = 3", "baseline_seeds = 2"))
    return folder


@pytest.mark.slow
def test_a_scripted_agent_searches_analyses_and_promotes_with_paired_seeds(lab, tmp_path):
    command = [sys.executable, str(SCRIPT), "--domain", str(shortened(tmp_path / "domain")), "--seeds", "2"]
    done = subprocess.run([*command, "--workspace", str(lab.root)], capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["baseline"]["outcome"] == "scored"
    broken = {name: told["candidates"].pop(name) for name in ("leak", "shorter answer")}
    assert {entry["outcome"] for entry in broken.values()} == {"invalid_output"}
    assert "causality" in broken["leak"]["reason"]
    assert "shape" in broken["shorter answer"]["reason"]
    assert not any("score" in entry for entry in broken.values()), "a failure is never a number"
    assert len(told["candidates"]) == 4
    for entry in told["candidates"].values():
        assert entry["outcome"] == "scored", entry
        assert 0 < entry["score"] < 1
    best = max(told["candidates"].values(), key=lambda entry: entry["score"])
    assert told["promoted"] == best["node"]
    assert told["lessons"], "what was learnt is at hand afterwards"
    difference = told["comparison"]["difference"]
    assert (difference["seeds"], difference["paired"]) == (2, True)
    low, high = difference["interval"]
    assert low <= difference["mean"] <= high
