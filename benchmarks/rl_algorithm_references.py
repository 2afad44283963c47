"""The reference programs of rl_algorithm against GRPO, paired seed by seed: what the test bed can tell apart.

    python benchmarks/rl_algorithm_references.py [--seeds 3] [--regimes on_policy stress flipped] [--only dapo gspo]

Every program trains in this process, from the same weights, with the same seeds as GRPO: the bed alone is measured
here, not the boundary. Prints a line per run, then for each regime and for all runs together the mean gain in pass@1
over GRPO, its standard deviation over the runs and its 95 % interval (Student's t with n - 1 degrees of freedom). An
interval that holds zero says that no difference was seen. CPU seconds are those of this process with one thread; a
machine that is busy with others inflates them, so its load is printed as well.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

ROOT = Path(__file__).parent.parent
DOMAIN = ROOT / "domains" / "rl_algorithm"
REFERENCES = ROOT / "tests" / "domains" / "rl_algorithm" / "references"
sys.path.insert(0, str(DOMAIN))

import torch  # noqa: E402
from bed.warm_start import warm_start  # noqa: E402
from boundary.in_process import InProcessAlgorithm  # noqa: E402
from scipy import stats  # noqa: E402
from training.loop import train  # noqa: E402
from training.regimes import KNOWN, regime  # noqa: E402
from training.runs import Run  # noqa: E402

NAMES = ("grpo", *sorted(path.stem for path in REFERENCES.glob("*.py")))


def program_of(name: str) -> Path:
    """The file of a reference program."""
    return DOMAIN / "baseline" / "algorithm.py" if name == "grpo" else REFERENCES / f"{name}.py"


def run(name: str, regime_name: str, seed: int, parameters: dict[str, int]) -> Run:
    """One run of one program."""
    algorithm = InProcessAlgorithm(program_of(name))
    ran = train(warm_start(), algorithm, regime(regime_name, parameters), seed, tell_nobody)
    print(
        f"{name:20} {regime_name:10} {seed}  pass@1 {ran.warm.pass_at_1:.3f} -> {ran.pass_at_1:.3f}  "
        f"greedy {ran.greedy:.3f}  entropy {ran.entropy:.2f}  kl {ran.kl:.2f}  clipped {ran.clip_fraction:.3f}  "
        f"length {ran.length:.2f}  {ran.cpu_seconds:.1f} CPU s  "
        + " ".join(f"{task} {share:.3f}" for task, share in ran.by_task.items()),
        flush=True,
    )
    return ran


def tell_nobody(step: int, measurements: dict[str, float]) -> None:
    """Progress is not looked at here."""


def gain_cell(gains: list[float]) -> str:
    """Mean, deviation, and the interval of the mean."""
    mean = statistics.fmean(gains)
    if len(gains) < 2:
        return f"{mean:+.3f}"
    deviation = statistics.stdev(gains)
    reach = float(stats.t.ppf(0.975, len(gains) - 1)) * deviation / len(gains) ** 0.5
    return f"{mean:+.3f} ({deviation:.3f}) [{mean - reach:+.3f}, {mean + reach:+.3f}]"


def print_table(runs: dict[tuple[str, str], list[Run]], names: list[str], regimes: list[str]) -> None:
    """Means of pass@1, then gains over GRPO."""
    print("\n| program | " + " | ".join(f"{one} pass@1 | {one} gain" for one in regimes) + " | all runs |")
    print("|---" * (2 * len(regimes) + 2) + "|")
    for name in names:
        cells: list[str] = []
        every: list[float] = []
        for one in regimes:
            own, base = runs[name, one], runs["grpo", one]
            gains = [a.pass_at_1 - b.pass_at_1 for a, b in zip(own, base, strict=True)]
            every += gains
            cells += [f"{statistics.fmean(ran.pass_at_1 for ran in own):.3f}", gain_cell(gains)]
        print(f"| {name} | " + " | ".join(cells) + f" | {gain_cell(every)} |")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--regimes", nargs="+", choices=KNOWN, default=list(KNOWN))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--steps", type=int, help="of on_policy and flipped; stress has its own")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names = ["grpo", *(name for name in asked.only if name != "grpo")]
    parameters = {"on_policy_steps": asked.steps, "flipped_steps": asked.steps} if asked.steps else {}
    runs: dict[tuple[str, str], list[Run]] = {}
    for one in asked.regimes:
        for name in names:
            seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
            runs[name, one] = [run(name, one, seed, parameters) for seed in seeds]
    print_table(runs, names, asked.regimes)
    explore = sum(ran.cpu_seconds for one in asked.regimes for ran in runs["grpo", one])
    print(f"\nGRPO: {explore:.1f} CPU s for all its runs; load {' '.join(f'{x:.1f}' for x in os.getloadavg())}.")


if __name__ == "__main__":
    main()
