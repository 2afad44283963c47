"""What the machine has to give: disk, control groups, GPUs. Findings for `asi-evolve doctor`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..sandbox.cgroups import LEAF, NEEDED_CONTROLLERS, own_cgroup
from .findings import Finding
from .settings import Settings

LOW_DISK_MB = 2000
LOW_INODES = 20_000
TORCH_PATIENCE_S = 120.0
DELEGATE = "systemd-run --user --scope -p Delegate=yes asi-evolve engineer"

UNIFY = "boot with systemd.unified_cgroup_hierarchy=1: cgroup v1 holds them on this machine"

_ASK_TORCH = """
import json, torch
seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps([torch.__version__, torch.version.cuda, seen]))
"""


def disks(settings: Settings) -> list[Finding]:
    """Room in the workspace, where jobs and results go, and in the folder for temporary files."""
    found = [_disk("disk", settings.home, "jobs may use 512 MB each")]
    temporary = Path(tempfile.gettempdir())
    if _existing(temporary).stat().st_dev != _existing(settings.home).stat().st_dev:
        found.append(_disk("disk for temporary files", temporary, "or name another folder in TMPDIR"))
    return found


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _disk(subject: str, path: Path, hint: str) -> Finding:
    try:
        state = os.statvfs(_existing(path))
    except OSError as error:
        return Finding(subject, "problem", f"{path}: {error}")
    free = state.f_bavail * state.f_frsize / 1e6
    room = f"{free / 1000:.1f} GB free at {path}"
    if state.f_files and state.f_favail < LOW_INODES:  # some file systems have no fixed number, and say 0
        text = f"{room}, but only {state.f_favail} files can still be made"
        return Finding(subject, "warning", text, "remove small files that nobody needs")
    if free < LOW_DISK_MB:
        return Finding(subject, "warning", f"only {room}", f"make room: {hint}")
    return Finding(subject, "ok", room)


def cgroup(_: Settings) -> Finding:
    """Whether a control group of ours can hold memory and processes."""
    return cgroup_finding(Path("/proc/self"))


def cgroup_finding(process: Path) -> Finding:
    """The same for a folder that describes a process as `/proc/self` does."""
    without = "the watcher holds the bounds on memory and processes by itself, looking every 20 ms"
    folder = own_cgroup(process)
    if folder is not None and folder.name == LEAF:  # an engineer has been at work here
        folder = folder.parent
    if folder is None:
        return Finding("cgroup", "optional", f"this machine shows no cgroup v2; {without}")
    try:
        controllers = (folder / "cgroup.controllers").read_text().split()
    except OSError as error:
        return Finding("cgroup", "optional", f"{folder} cannot be read ({error.strerror}); {without}")
    missing = [name for name in NEEDED_CONTROLLERS if name not in controllers]
    if missing:
        text = f"{folder} has no controller for {' and '.join(missing)}; {without}"
        return Finding("cgroup", "optional", text, UNIFY if _held_by_v1(process) else DELEGATE)
    if not _can_hold_children(folder):
        text = f"{folder} is not delegated to this user; {without}"
        return Finding("cgroup", "optional", text, DELEGATE)
    return Finding("cgroup", "ok", f"v2, delegated at {folder} with {', '.join(NEEDED_CONTROLLERS)}")


def _held_by_v1(process: Path) -> bool:
    lines = (process / "cgroup").read_text().splitlines()
    return any(set(NEEDED_CONTROLLERS) & set(line.split(":")[1].split(",")) for line in lines)


def _can_hold_children(folder: Path) -> bool:
    """Found by making one."""
    if not all(os.access(folder / name, os.W_OK) for name in ("cgroup.procs", "cgroup.subtree_control")):
        return False
    child = folder / f"asi-evolve-doctor-{os.getpid()}"
    try:
        child.mkdir()
        child.rmdir()
    except OSError:
        return False
    return True


def gpus(settings: Settings) -> list[Finding]:
    """Devices, their driver, and whether torch sees them where candidates run. Without devices nothing is imported."""
    devices = settings.gpu_devices()
    if not devices:
        why = "none are to be used" if settings.gpus == "none" else "none found"
        return [Finding("gpus", "optional", f"{why}, so stages that need one cannot run")]
    unusable = [f"/dev/nvidia{device}" for device in devices if not _usable(Path(f"/dev/nvidia{device}"))]
    if unusable:
        text = f"{', '.join(unusable)} cannot be opened for reading and writing"
        remedy = "name those that are there in ASI_EVOLVE_GPUS, or join the group that owns them (ls -l /dev/nvidia*)"
        return [Finding("gpus", "warning", text, remedy)]
    return [_driver(devices), torch_finding(settings.python or sys.executable, len(devices))]


def _usable(node: Path) -> bool:
    return os.access(node, os.R_OK | os.W_OK)


def _driver(devices: Sequence[int]) -> Finding:
    listed = f"devices {', '.join(map(str, devices))}"
    try:
        import pynvml  # pyright: ignore[reportMissingImports]  -- an extra
    except ImportError:
        remedy = f"{sys.executable} -m pip install nvidia-ml-py"
        return Finding("gpus", "warning", f"{listed}; without nvidia-ml-py their memory cannot be watched", remedy)
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
        version = _text(nvml.nvmlSystemGetDriverVersion())
        names = [_described(nvml, device) for device in devices]
        nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        return Finding("gpus", "warning", f"{listed}, but the driver says: {error}", "see what nvidia-smi says")
    return Finding("gpus", "ok", f"driver {version}; {'; '.join(names)}")


def _described(nvml: Any, device: int) -> str:
    handle = nvml.nvmlDeviceGetHandleByIndex(device)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    name = _text(nvml.nvmlDeviceGetName(handle))
    return f"{device}: {name}, {memory.free / 1e9:.0f} of {memory.total / 1e9:.0f} GB free"


def _text(value: str | bytes) -> str:
    """Older versions of the library answer in bytes."""
    return value.decode() if isinstance(value, bytes) else value


def torch_finding(python: str, devices: int) -> Finding:
    """Asked in a process of its own: torch takes seconds and hundreds of megabytes."""
    try:
        asked = subprocess.run(
            [python, "-I", "-c", _ASK_TORCH],
            capture_output=True,
            text=True,
            timeout=TORCH_PATIENCE_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("gpus in torch", "warning", f"{python} could not be asked: {error}")
    if asked.returncode != 0:
        last = (asked.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        if "No module named 'torch'" in last:
            return Finding("gpus in torch", "optional", f"{python} has no torch", f"{python} -m pip install torch")
        return Finding("gpus in torch", "warning", f"torch fails in {python}: {last}", "install it again")
    version, cuda, seen = json.loads(asked.stdout)
    text = f"torch {version}, built for CUDA {cuda or 'no version'}, sees {seen} of {devices} in {python}"
    if seen < devices:
        remedy = "install a torch that is built for CUDA, no newer than the driver: https://pytorch.org/get-started"
        return Finding("gpus in torch", "warning", text, remedy)
    return Finding("gpus in torch", "ok", text)
