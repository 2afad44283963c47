"""How tests come by the boundary: its modules, a candidate in its own process, and batches as a trainer has them."""

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from asi_evolve import domains
from asi_evolve.sandbox import channel

FOLDER = Path(domains.__file__).parent / "rl_algorithm"
STUB_FILES = (
    "stub.py",
    "boundary/__init__.py",
    "boundary/batch.py",
    "boundary/candidate_side.py",
    "boundary/metrics.py",
)


def imported(*names):
    """Modules of the domain's folder, whatever else goes by these names: other domains have a `training` too."""
    ours = {path.stem for path in FOLDER.iterdir()}
    others = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ours}
    for name in others:
        del sys.modules[name]
    sys.modules["channel"] = channel  # as it lies beside a trainer, and with the same errors
    path = list(sys.path)
    sys.path.insert(0, str(FOLDER))
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path[:] = path  # programs of the domain put their folder there as well
        del sys.modules["channel"]
        for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
            del sys.modules[name]
        sys.modules.update(others)


class Process:
    """The stub in a process of its own, with what its sandbox would show it; no sandbox around it."""

    def __init__(self, job, program):
        self.job = job
        for name in ("candidate", "channel", "stub/boundary"):
            (job / name).mkdir(parents=True)
        shutil.copy(channel.__file__, job / "channel" / "channel.py")
        for name in STUB_FILES:
            shutil.copy(FOLDER / name, job / "stub" / name)
        (job / "params.json").write_text('{"entry": "algorithm.py"}')
        self.write(program)
        (self._reads, theirs_out), (theirs_in, self._writes) = os.pipe(), os.pipe()
        self._child = subprocess.Popen(
            [sys.executable, "-s", "-B", str(job / "stub" / "stub.py"), str(job)],
            pass_fds=(theirs_in, theirs_out),
            env={"CHANNEL_READ": str(theirs_in), "CHANNEL_WRITE": str(theirs_out), "PYTHONSAFEPATH": "1"},
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)

    def write(self, program):
        """Take this for the candidate, from the next run on."""
        (self.job / "candidate" / "algorithm.py").write_text(program)

    @contextlib.contextmanager
    def connected(self):
        """The environment of its trainer."""
        before = {name: os.environ.get(name) for name in (channel.READ_END, channel.WRITE_END)}
        hook = sys.excepthook
        os.environ |= {channel.READ_END: str(self._reads), channel.WRITE_END: str(self._writes)}
        try:
            yield
        finally:
            sys.excepthook = hook
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def end(self):
        """Kill it, and what it has started."""
        os.close(self._reads)
        os.close(self._writes)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, 9)
        self._child.wait()


def batch_of(rng, *, groups=6, group_size=4, length=7, step=0):
    """A batch as the trainer has it: rewards of 0 and 1, samples of several lengths."""
    count = groups * group_size
    lengths = rng.integers(1, length + 1, count)
    mask = (np.arange(length) < lengths[:, None]).astype(np.float32)
    return {
        "rewards": rng.integers(0, 2, count).astype(np.float32),
        "group_ids": np.repeat(np.arange(groups), group_size),
        "group_size": group_size,
        "lengths": lengths,
        "mask": mask,
        "old_logp": -rng.exponential(1.0, mask.shape).astype(np.float32) * mask,
        "entropy": rng.exponential(0.5, mask.shape).astype(np.float32) * mask,
        "step": step,
        "total_steps": 70,
    }


def rows_of(batch, rows):
    """A minibatch."""
    return {name: value[rows] if np.ndim(value) else value for name, value in batch.items()}
