"""Says in one sentence what a stage on a real model lacks, and what to do, before anything heavy is imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "math_verify")


def check_packages() -> None:
    """Raise SystemExit, which names them, where packages are missing."""
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        raise SystemExit(
            f"Expected the packages {', '.join(PACKAGES)} for a run on a real model, but the interpreter of the "
            f"experiments has no {', '.join(absent)}. Do there: pip install 'asi-evolve-mcp[rl]'."
        )


def expect_files(data: Path) -> None:
    """Raise SystemExit where model or problems are missing in `data`, which is the domain's data/train."""
    wanted = ("model/config.json", "problems.jsonl", "held_out.jsonl")
    absent = [name for name in wanted if not (data / name).is_file()]
    if absent:
        raise SystemExit(
            f"Expected a model and problems in data/train of this domain, but there is no {' and no '.join(absent)}. "
            "Do: python prepare.py --domain FOLDER --model MODEL --data PROBLEMS, and start a campaign with FOLDER."
        )
