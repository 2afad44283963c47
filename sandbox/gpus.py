"""NVIDIA devices of this machine: which there are, how a program is told of them, and what memory they hold.

Devices are numbered as their nodes are (/dev/nvidia0). CUDA and NVML number what they can see, in an order of their
own, so programs are told by UUID.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evolution.errors import SandboxUnavailable

DRIVER = Path("/proc/driver/nvidia/gpus")

PROBE = """
import ctypes, os, sys
wanted = len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))
try:
    driver = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    sys.exit(f"the CUDA driver's library cannot be loaded: {error}")
count = ctypes.c_int()
status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
if status:
    sys.exit(f"the CUDA driver answers with error {status}")
if count.value != wanted:
    sys.exit(f"{wanted} device(s) were granted, but the CUDA driver sees {count.value}")
"""
"""A program that fails, with the reason, unless it sees as many devices as were granted."""


@dataclass(frozen=True)
class Gpu:
    """One device."""

    number: int
    """Of its node."""
    uuid: str
    """Empty where the driver does not tell."""
    model: str


def installed(driver: Path = DRIVER) -> dict[int, Gpu]:
    """What the driver tells of its devices, by number; empty where there is none."""
    found: dict[int, Gpu] = {}
    for file in sorted(driver.glob("*/information")):
        with contextlib.suppress(OSError, KeyError, ValueError):
            lines = file.read_text(errors="replace").splitlines()
            told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            gpu = Gpu(int(told["Device Minor"]), told.get("GPU UUID", ""), told.get("Model", "unknown"))
            found[gpu.number] = gpu
    return found


def models(numbers: Sequence[int], driver: Path = DRIVER) -> list[str]:
    """Names of devices by their numbers."""
    known = installed(driver)
    return [known[number].model if number in known else "unknown" for number in numbers]


def visible_devices(numbers: Sequence[int], driver: Path = DRIVER) -> str:
    """What CUDA_VISIBLE_DEVICES is to be; in order of number where the driver tells no UUIDs."""
    known = installed(driver)
    if all(number in known and known[number].uuid for number in numbers):
        return ",".join(known[number].uuid for number in numbers)
    return ",".join(map(str, range(len(numbers))))


class MemoryWatch:
    """Memory on granted devices, through NVML. A device is granted to one job at a time, so what it holds beyond what
    it held before is that job's, whatever names its processes go by.

    Raises:
        SandboxUnavailable: NVML cannot be used.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        try:
            import pynvml  # pyright: ignore[reportMissingImports]  -- an extra
        except ImportError as error:
            raise SandboxUnavailable(
                "Expected nvidia-ml-py, which a bound on GPU memory takes. Do: pip install nvidia-ml-py."
            ) from error
        nvml: Any = pynvml
        self._nvml = nvml
        known = installed()
        try:
            nvml.nvmlInit()
            self._devices = [
                nvml.nvmlDeviceGetHandleByUUID(known[number].uuid)
                if number in known and known[number].uuid
                else nvml.nvmlDeviceGetHandleByIndex(number)
                for number in numbers
            ]
            self._before = self._held()
        except nvml.NVMLError as error:
            raise SandboxUnavailable(f"Expected to read the memory of GPUs {list(numbers)}, but: {error}.") from error

    def used_mb(self) -> float:
        """MB that the job holds, over all of its devices; the last figure stands where NVML does not answer."""
        with contextlib.suppress(self._nvml.NVMLError):
            return max(0.0, (self._held() - self._before) / 1e6)
        return 0.0

    def _held(self) -> float:
        return float(sum(self._nvml.nvmlDeviceGetMemoryInfo(device).used for device in self._devices))
