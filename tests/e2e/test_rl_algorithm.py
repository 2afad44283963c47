"""A whole campaign on rl_algorithm through a real client: GRPO without its clip to start from, under stress alone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from asi_evolve import domains

pytest.importorskip("torch")
SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "rl_algorithm_campaign.py"
FOLDER = Path(domains.__file__).parent / "rl_algorithm"
CLIPPED = "clipped = ratio.clamp(1 - CLIP, 1 + CLIP) * advantages"
SEEDS = 8


def handicapped(folder: Path) -> Path:
    """The domain under stress alone, with fewer seeds, and a baseline that clips nothing."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    changes = {
        folder / "baseline" / "algorithm.py": [(re.escape(CLIPPED), "clipped = unclipped")],
        folder / "domain.toml": [
            (r'regimes = "on_policy stress flipped"', 'regimes = "stress"'),
            (r"(?m)^stress_steps = 15$", "stress_steps = 15\ncurve_points = 3"),
            (r"(?m)^baseline_seeds = 3$", "baseline_seeds = 1"),
            (r"(?m)^seeds_per_run = 3$", "seeds_per_run = 2"),
            # a single run scatters by about what the clip is worth; the mean of three by half of it
            (r"(?m)^seeds_per_run = 1\nfirst_seed", "seeds_per_run = 3\nfirst_seed"),
            (r"(?m)^value = -0.05$", "value = -0.5"),  # a baseline without its clip may fall, and is run to its end
            (r"(?m)^candidate_cpu_seconds = 30$", "candidate_cpu_seconds = 15"),
            (r"(?m)^margin = 0.25$", "margin = 2.0"),  # a broken baseline leaves more room than GRPO does
        ],
    }
    for path, edits in changes.items():
        text = path.read_text()
        for old, new in edits:
            assert re.search(old, text), old
            text = re.sub(old, new, text)
        path.write_text(text)
    return folder


@pytest.mark.slow
def test_a_scripted_agent_finds_the_clip_again_and_shows_it_with_eight_paired_seeds(lab, tmp_path):
    command = [sys.executable, str(SCRIPT), "--domain", str(handicapped(tmp_path / "domain")), "--seeds", str(SEEDS)]
    done = subprocess.run([*command, "--workspace", str(lab.root)], capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["baseline"]["outcome"] == "scored"
    assert told["baseline"]["score"] == 0, "paired with itself"
    not_finite, slow = (told["candidates"].pop(name) for name in ("no epsilon", "sampled orders"))
    assert not_finite["outcome"] == "candidate_error"
    assert "finite" in not_finite["reason"]
    assert slow["outcome"] == "limit", slow
    assert "bound on cpu" in slow["reason"]
    assert "score" not in not_finite
    assert "score" not in slow
    assert len(told["candidates"]) == 4
    for entry in told["candidates"].values():
        assert entry["outcome"] == "scored", entry
        metrics = entry["metrics"]
        assert entry["score"] == pytest.approx(metrics["gain"])
        ends = [
            metrics.get(name, metrics["gain"]) for name in ("gain_low", "gain_high")
        ]  # none where both gained the same
        assert ends[0] <= metrics["gain"] <= ends[1]
    assert any("gain_low" in entry["metrics"] for entry in told["candidates"].values())
    best = max(told["candidates"].values(), key=lambda entry: entry["score"])
    assert told["promoted"] == best["node"]
    assert any("no epsilon: " in json.dumps(lesson) for lesson in told["lessons"]), "what was learnt is at hand"
    difference = told["comparison"]["difference"]
    assert (difference["seeds"], difference["paired"]) == (SEEDS, True)
    low, high = difference["interval"]
    assert 0 < low <= difference["mean"] <= high, "with the clip it learns more, by more than noise"
    assert difference["mean"] == pytest.approx(told["verified"]["score"], abs=1e-3), "the gain, told twice"
