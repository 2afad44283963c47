"""CPU time of one round trip of a 64 x 64 float32 array between a trainer and a candidate, both sides together.

Beside the floor, the same bytes there and back over the same pipes without frames, in the same minute:

    python benchmarks/channel.py [--calls 3000] [--rounds 5]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from asi_evolve.sandbox import channel

GOAL_MS = 0.5
ECHO = "def echo(x): return {'x': x}\n"
RAW = """
import os, sys
source, target, size = int(os.environ["CHANNEL_READ"]), int(os.environ["CHANNEL_WRITE"]), int(sys.argv[1])
with os.fdopen(source, "rb") as incoming, os.fdopen(target, "wb") as outgoing:
    while data := incoming.read(size):
        outgoing.write(data)
        outgoing.flush()
"""


def start(arguments):
    """(process, our read end, our write end) of a child on two pipes."""
    (ours_in, theirs_out), (theirs_in, ours_out) = os.pipe(), os.pipe()
    ends = {channel.READ_END: str(theirs_in), channel.WRITE_END: str(theirs_out)}
    child = subprocess.Popen(
        [sys.executable, *arguments],
        pass_fds=(theirs_in, theirs_out),
        env=ends | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    os.close(theirs_in)
    os.close(theirs_out)
    return child, ours_in, ours_out


def cpu_seconds(*processes):
    """What they have used so far."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in processes) / 1e9


def per_call_ms(child, call, calls):
    """CPU milliseconds of a call, of this process and the child."""
    call()
    began = cpu_seconds(child.pid, os.getpid())
    for _ in range(calls):
        call()
    return 1000 * (cpu_seconds(child.pid, os.getpid()) - began) / calls


def framed(job, array, calls):
    """Through the channel."""
    child, os.environ[channel.READ_END], os.environ[channel.WRITE_END] = (
        value if isinstance(value, subprocess.Popen) else str(value) for value in start([channel.__file__, str(job)])
    )
    candidate = channel.Candidate()
    form = {"x": (array.dtype.name, array.shape)}
    answer = candidate.call("echo", {"x": array}, expect=form)
    assert np.array_equal(answer["x"], array)
    took = per_call_ms(child, lambda: candidate.call("echo", {"x": array}, expect=form), calls)
    end(child, int(os.environ[channel.READ_END]), int(os.environ[channel.WRITE_END]))
    return took


def bare(array, calls):
    """Bytes there and back."""
    data = array.tobytes()
    child, source, target = start(["-c", RAW, str(len(data))])

    def call():
        os.write(target, data)
        left = len(data)
        while left:
            left -= len(os.read(source, left))

    took = per_call_ms(child, call, calls)
    end(child, source, target)
    return took


def end(child, *ends):
    """Let go of a child."""
    for descriptor in ends:
        os.close(descriptor)
    child.wait(20)


def main():
    """Print a table; the exit status is 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    array = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "candidate").mkdir()
        (Path(folder) / "candidate" / "echo.py").write_text(ECHO)
        (Path(folder) / "params.json").write_text(json.dumps({"entry": "echo.py"}))
        rounds = [(framed(folder, array, options.calls), bare(array, options.calls)) for _ in range(options.rounds)]
    ours, floor = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"Python {platform.python_version()}, {platform.machine()}, {options.rounds} rounds of {options.calls} calls")
    print(f"{'':24}{'CPU ms a round trip':>20}")
    print(f"{'bytes alone':24}{floor:20.3f}")
    print(f"{'64 x 64 float32, framed':24}{ours:20.3f}   {ours / floor:.1f} times, goal {GOAL_MS}")
    return 0 if ours < GOAL_MS else 1


if __name__ == "__main__":
    sys.exit(main())
