"""`asi-evolve demo`, as a newcomer runs it."""

import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import psutil
import pytest


@pytest.mark.slow
def test_the_demo_climbs_to_a_strict_score_and_leaves_nothing_behind(tmp_path):
    shown = subprocess.run(
        [sys.executable, "-I", "-m", "asi_evolve.server.cli", "demo", "--output", str(tmp_path / "pictures")],
        env=os.environ | {"HOME": str(tmp_path), "COLUMNS": "120", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert shown.returncode == 0, shown.stderr
    assert "scripted" in shown.stdout
    assert len(re.findall(r"^Round ", shown.stdout, re.MULTILINE)) >= 8
    assert "invalid_output" in shown.stdout, "the cheating candidate is found out"
    assert "candidate_error" in shown.stdout, "the broken candidate is told apart from a bad idea"
    best = float(re.search(r"Best packing: n\d+ \w+, ([0-9.]+)", shown.stdout)[1])
    assert 2.63 <= best < 2.6359830849177
    picture = ElementTree.parse(tmp_path / "pictures" / "best-packing.svg")
    assert len([element for element in picture.iter() if element.tag.endswith("circle")]) >= 26
    assert not list(tmp_path.glob("asi-evolve-demo-*")), "the workspace is removed"
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
