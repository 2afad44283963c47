"""Looks at the machine and says what works, what does not, and what to do about it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable

from ..database.workspace import WorkspacePaths
from ..evolution.errors import EvolveError
from ..sandbox.daemon_lock import daemon_about
from ..sandbox.interpreter import describe_interpreter
from ..sandbox.isolation import TIERS, Tier
from ..sandbox.isolation.choice import STRENGTH, remedy, try_tiers
from ..sandbox.isolation.seccomp import ARCHITECTURES
from .findings import Finding
from .installation import domains, embedder, extension_loading, extras, interpreter, own_version, sqlite
from .machine import cgroup, disks, gpus
from .settings import Settings


def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which they build on each other; first what experiments cannot run without."""
    checks: list[Callable[[Settings], Finding | list[Finding]]] = [
        interpreter,
        sqlite,
        extension_loading,
        _workspace,
        disks,
        _isolation,
        cgroup,
        _daemon,
        gpus,
        embedder,
        extras,
        domains,
    ]
    findings: list[Finding] = []
    for check in checks:
        found = check(settings)
        findings += found if isinstance(found, list) else [found]
    return findings


def _workspace(settings: Settings) -> Finding:
    try:
        WorkspacePaths(settings.home).prepare()
    except EvolveError as error:
        return Finding("workspace", "problem", str(error), "choose another with --workspace or ASI_EVOLVE_HOME")
    return Finding("workspace", "ok", str(settings.home))


def _isolation(settings: Settings) -> Finding:
    """Every tier is tried anew: somebody may just have mended one."""
    wanted: list[Tier] = [tier for tier in TIERS if tier != "unconfined" or settings.sandbox_minimum == "unconfined"]
    try:
        attempts = try_tiers(describe_interpreter(settings.python or sys.executable, ()), wanted, all_of_them=True)
    except EvolveError as error:
        return Finding("sandbox", "problem", str(error))
    working: list[Tier] = [attempt.tier for attempt in attempts if attempt.failure is None]
    failed = [f"{attempt.how}: {attempt.failure}" for attempt in attempts if attempt.tier not in working]
    missing = f"; not working: {'; '.join(failed)}" if failed else ""
    best = working[0] if working else None
    if best is None or STRENGTH[best] < STRENGTH[settings.sandbox_minimum]:
        text = f"none of tier {settings.sandbox_minimum} or stronger works{missing}"
        return Finding("sandbox", "problem", text, remedy())
    others = f" ({', '.join(working[1:])} would work as well)" if working[1:] else ""
    text = f"tier {best}{others}{missing}{_about_the_filter()}"
    if best in ("bwrap", "userns", "seatbelt"):
        return Finding("sandbox", "ok", text)
    weak = (
        "no candidate can use shared memory, sockets or worker pools" if best == "landlock" else "nothing is confined"
    )
    return Finding("sandbox", "warning", f"{text}; in this tier {weak}", remedy())


def _about_the_filter() -> str:
    if sys.platform != "linux" or platform.machine() in ARCHITECTURES:
        return ""
    return f"; no filter of system calls, which is made for {' and '.join(ARCHITECTURES)}"


def _daemon(settings: Settings) -> Finding:
    try:
        about = daemon_about(WorkspacePaths(settings.home))
    except OSError as error:
        return Finding("engineer", "warning", f"its lock cannot be read: {error}", "mend the workspace first")
    if about is None:
        return Finding("engineer", "ok", "not running; a server starts it when there is work")
    own = own_version()
    if about.get("version") != own:
        return Finding(
            "engineer",
            "warning",
            f"process {about.get('pid')} runs version {about.get('version')}, this is {own}",
            f"end it (kill {about.get('pid')}): running jobs go on, and the new one adopts them",
        )
    return Finding("engineer", "ok", f"runs as process {about.get('pid')}")
