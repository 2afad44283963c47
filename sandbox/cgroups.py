"""Control groups (cgroup v2), where some are delegated to us: then the kernel itself holds the bounds of a sandbox.

Without them the watcher does, by looking; with them it still looks, for what groups do not bound.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from ..evolution.outcomes import LimitHit
from .jobs import Limits

NEEDED_CONTROLLERS = ("memory", "pids")
LEAF = "asi-evolve"
"""Where the processes of a group go that shall have groups beneath it: one with both cannot pass controllers on."""
OWN_PROCESSES = 3
"""Of ours in a sandbox's group: bubblewrap and the first process, and a fork of ours on its way to become them."""
_REMOVE_PATIENCE_S = 2.0
MB = 1e6


def own_cgroup(process: Path = Path("/proc/self")) -> Path | None:
    """The folder of a process's own group in the cgroup v2 tree; `None` where there is no such tree."""
    try:
        mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
        groups = (process / "cgroup").read_text().splitlines()
    except OSError:  # no /proc, as on macOS, or a masked one
        return None
    # Fields before the dash: id, parent, device, root, mount point, ...; after it: type, source, options.
    trees = [(fields[3], Path(fields[4])) for fields in mounts if fields[fields.index("-") + 1] == "cgroup2"]
    group = next((line.removeprefix("0::") for line in groups if line.startswith("0::")), None)
    if not trees or group is None:
        return None
    root, place = trees[0]
    inside = group.removeprefix(root) if root != "/" else group
    return place / inside.strip("/")


def claim() -> Path | None:
    """The folder in which sandboxes may have groups of their own, made ready for it; `None` where we have none.

    Every process of our group moves to a leaf of it: ourselves, and whoever was started in it beside us.
    """
    own = own_cgroup()
    if own is None:
        return None
    base = own.parent if own.name == LEAF else own
    try:
        controllers = (base / "cgroup.controllers").read_text().split()
        if not set(NEEDED_CONTROLLERS) <= set(controllers) or not os.access(base / "cgroup.procs", os.W_OK):
            return None
        leaf = base / LEAF
        leaf.mkdir(exist_ok=True)
        while inhabitants := (base / "cgroup.procs").read_text().split():
            for pid in inhabitants:
                with contextlib.suppress(ProcessLookupError):
                    (leaf / "cgroup.procs").write_text(pid)
        (base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in NEEDED_CONTROLLERS))
    except OSError:
        return None
    _remove_empty(base)
    return base


def _remove_empty(base: Path) -> None:
    """What killed supervisors left behind."""
    for group in base.glob("job-*"):
        with contextlib.suppress(OSError):
            group.rmdir()


class Group:
    """The group of one sandbox.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, base: Path, mark: int, limits: Limits) -> None:
        self.folder = base / f"job-{mark:x}"
        self._limits = limits
        self.folder.mkdir()
        for name, value in (
            ("memory.max", str(int(limits.memory_mb * MB))),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", str(limits.pids + OWN_PROCESSES)),
        ):
            if (self.folder / name).exists():  # else a controller, or a feature of the kernel, is not there
                (self.folder / name).write_text(value)

    @property
    def entrance(self) -> str:
        """The file that a process writes `0` to, and is in."""
        return str(self.folder / "cgroup.procs")

    def cpu_seconds(self) -> float:
        """Of all that was ever in it."""
        return self._field("cpu.stat", "usage_usec") / 1e6

    def peak_memory(self) -> float:
        """Bytes."""
        return self._number("memory.peak")

    def limit(self) -> LimitHit | None:
        """The bound that the kernel has held by itself."""
        if self._field("memory.events", "oom_kill") or self._field("memory.events", "oom_group_kill"):
            allowed = self._limits.memory_mb
            return LimitHit("memory", max(self.peak_memory() / MB, allowed), allowed, "MB")
        return None

    def kill(self) -> None:
        """All that is in it."""
        with contextlib.suppress(OSError):
            (self.folder / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Once it is empty; what has been killed stays in it until it is reaped."""
        give_up = time.monotonic() + _REMOVE_PATIENCE_S
        while time.monotonic() < give_up:
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.002)
            else:
                return

    def _field(self, file: str, name: str) -> float:
        with contextlib.suppress(OSError, ValueError):
            for line in (self.folder / file).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == name:
                    return float(value)
        return 0.0

    def _number(self, file: str) -> float:
        try:
            return float((self.folder / file).read_text())
        except (OSError, ValueError):
            return 0.0
