"""What the boundary costs a step of training: the candidate in a process of its own, beside the same in the trainer's.

Both train the test bed's model from its warm start with GRPO on the same samples (24 prompts x 8, regime on_policy), in
turns, step by step, and end with the same weights to the bit. CPU time is of both processes together, without what
starting them takes; medians, since others may work on the machine:

    python benchmarks/rl_algorithm_boundary.py [--steps 80] [--regime on_policy]
"""

# ruff: noqa: E402 - torch reads the environment when it is imported

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # as in the sandbox

from asi_evolve import domains
from asi_evolve.sandbox import channel

FOLDER = Path(domains.__file__).parent / "rl_algorithm"
BASELINE = FOLDER / "baseline" / "algorithm.py"
GOAL = 1.10
WARM_UP = 5

sys.path.insert(0, str(FOLDER))
sys.modules["channel"] = channel
import torch
from bed.warm_start import warm_start
from boundary.in_process import InProcessAlgorithm
from boundary.remote import RemoteAlgorithm
from training.loop import Trainer
from training.regimes import regime


class Cost(NamedTuple):
    """Milliseconds of a step."""

    cpu: float
    wall: float


class Side:
    """One trainer with its algorithm."""

    def __init__(self, algorithm, settings, pids):
        algorithm.begin(0)
        self.model = warm_start()
        self.trainer = Trainer(self.model, algorithm, settings, 0)
        self.pids = pids
        self.step = 0

    def cost(self):
        """Of the next step."""
        began, cpu = time.perf_counter(), cpu_seconds(*self.pids)
        self.trainer.update(self.trainer.sample(self.step))
        self.step += 1
        return Cost(1000 * (cpu_seconds(*self.pids) - cpu), 1000 * (time.perf_counter() - began))


def cpu_seconds(*processes):
    """What they have used so far."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in processes) / 1e9


def start_stub(job):
    """The stub with the baseline, and our two ends in the environment."""
    (job / "candidate").mkdir()
    (job / "channel").mkdir()
    shutil.copy(BASELINE, job / "candidate" / "algorithm.py")
    shutil.copy(channel.__file__, job / "channel" / "channel.py")
    (job / "params.json").write_text(json.dumps({"entry": "algorithm.py"}))
    (ours_in, theirs_out), (theirs_in, ours_out) = os.pipe(), os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-B", str(FOLDER / "stub.py"), str(job)],
        pass_fds=(theirs_in, theirs_out),
        env={channel.READ_END: str(theirs_in), channel.WRITE_END: str(theirs_out)},
    )
    os.close(theirs_in)
    os.close(theirs_out)
    os.environ |= {channel.READ_END: str(ours_in), channel.WRITE_END: str(ours_out)}
    return child


def measure(options):
    """[(remote, in process)] of each step."""
    settings = regime(options.regime, {"steps": 10_000})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        child = start_stub(Path(folder))
        try:
            remote = Side(RemoteAlgorithm(), settings, (os.getpid(), child.pid))
            beside = Side(InProcessAlgorithm(BASELINE, own_random_numbers=False), settings, (os.getpid(),))
            pairs = []
            for turn in range(options.steps + WARM_UP):
                first, second = (remote, beside) if turn % 2 else (beside, remote)
                costs = {first: first.cost(), second: second.cost()}
                pairs.append((costs[remote], costs[beside]))
            for one, other in zip(remote.model.parameters(), beside.model.parameters(), strict=True):
                assert torch.equal(one, other), "Expected the same weights, but they differ."
        finally:
            child.kill()
            child.wait()
    return pairs[WARM_UP:]


def main():
    """Print a table; the exit status is 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--regime", default="on_policy")
    options = parser.parse_args()
    pairs = measure(options)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, {options.regime}, "
        f"{options.steps} steps of each"
    )
    print(f"{'median milliseconds':24}{'boundary':>12}{'in process':>12}{'ratio':>8}")
    ratios = {}
    for clock in Cost._fields:
        ours = statistics.median(getattr(remote, clock) for remote, _ in pairs)
        beside = statistics.median(getattr(other, clock) for _, other in pairs)
        ratios[clock] = ours / beside
        print(f"{clock + ' of a step':24}{ours:12.2f}{beside:12.2f}{ratios[clock]:8.3f}")
    print(f"goal: at most {GOAL} of CPU time")
    return 0 if ratios["cpu"] <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
