"""Start a program once per GPU, as torchrun does, inside a sandbox that has only a loopback device.

The program starts itself again:

    if launch.wanted(device, processes) > 1 and not launch.is_worker():
        sys.exit(launch.start(__file__, sys.argv[1:], launch.wanted(device, processes)))

The sandbox has neither /etc/hosts nor a network, so addresses are numbers and never names, and gloo and NCCL are told
to talk over `lo`. In the sandbox tier without namespaces (landlock) a program may open no socket at all: there one
process is all there can be, and `start` says so. One machine only.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

import torch

ADDRESS = "127.0.0.1"


class CannotLaunch(RuntimeError):
    """Several processes cannot work together here."""


def is_worker() -> bool:
    """Whether this process is one of those that were started."""
    return "RANK" in os.environ


def is_first() -> bool:
    """Whether this process writes for all: the only one, or the first of those that were started."""
    return os.environ.get("RANK", "0") == "0"


def wanted(device: str, processes: int | None = None) -> int:
    """How many processes: one per visible GPU, or the number that is given (tests of the same code on a CPU)."""
    if processes is not None:
        return processes
    return max(1, torch.cuda.device_count()) if torch.device(device).type == "cuda" else 1


def _free_port() -> int:
    try:
        with socket.socket() as found:
            found.bind((ADDRESS, 0))
            return int(found.getsockname()[1])
    except OSError as error:
        raise CannotLaunch(
            f"Expected a loopback device for processes to meet on, but: {error}. Use a sandbox tier with namespaces "
            "(bwrap or userns), or one GPU."
        ) from error


def start(script: str, arguments: Sequence[str], processes: int, restarts: int = 0) -> int:
    """Run `script arguments` in so many processes; return the exit status, 0 if all ended well.

    The first that fails ends the others; what they print comes through. With `restarts` all are then started anew so
    often, which only helps a program that goes on from a saved state. Raises CannotLaunch.
    """
    command = [sys.executable, "-s", "-B", "-m", "torch.distributed.run"]
    command += ["--nnodes", "1", "--node-rank", "0", "--nproc-per-node", str(processes)]
    command += ["--master-addr", ADDRESS, "--master-port", str(_free_port()), "--local-addr", ADDRESS]
    command += ["--max-restarts", str(restarts), "--no-python", sys.executable, "-s", "-B", script, *arguments]
    meeting = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "NCCL_IB_DISABLE": "1"}
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    return subprocess.run(command, env={**os.environ, **threads, **meeting}, check=False).returncode
