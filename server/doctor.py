"""Looks at the machine and says what works, what does not, and what to do about it."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from ..database.connection import find_driver
from ..database.migrations import migrate
from ..database.workspace import WorkspacePaths
from ..domains.loader import domain_names, find_domain
from ..evolution.errors import EvolveError
from ..sandbox.daemon_lock import daemon_about
from ..sandbox.interpreter import describe_interpreter
from ..sandbox.isolation.choice import find_isolation
from ..sandbox.preparation import requirement_names
from .settings import Settings

State = Literal["ok", "warning", "problem"]
LOW_DISK_MB = 2000


@dataclass(frozen=True)
class Finding:
    """One line of the page."""

    subject: str
    state: State
    text: str
    remedy: str = ""

    @property
    def blocks(self) -> bool:
        """Whether experiments cannot run because of it."""
        return self.state == "problem"

    def as_fields(self) -> dict[str, str]:
        """For `--json`."""
        return {"subject": self.subject, "state": self.state, "text": self.text, "remedy": self.remedy}


def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which they build on each other."""
    checks: list[Callable[[Settings], Finding]] = [
        _interpreter,
        _sqlite,
        _workspace,
        _disk,
        _isolation,
        _gpus,
        _daemon,
    ]
    return [check(settings) for check in checks] + _domains(settings)


def print_findings(findings: list[Finding]) -> None:
    """The page, in colour where the terminal has it."""
    from rich.console import Console

    console = Console(highlight=False)
    styles: dict[State, str] = {"ok": "green", "warning": "yellow", "problem": "red"}
    for finding in findings:
        style = styles[finding.state]
        console.print(f"[{style}]{finding.state:>8}[/]  {finding.subject}: ", end="")
        console.print(finding.text, markup=False)
        if finding.remedy:
            console.print(f"            do: {finding.remedy}", markup=False)
    blocked = [finding.subject for finding in findings if finding.blocks]
    console.print(f"\nExperiments cannot run: {', '.join(blocked)}." if blocked else "\nExperiments can run.")


def _interpreter(settings: Settings) -> Finding:
    inside = settings.python or sys.executable
    return Finding(
        "interpreter", "ok", f"Python {platform.python_version()} at {sys.executable}; candidates run under {inside}"
    )


def _sqlite(_: Settings) -> Finding:
    """Opens a database in a folder of its own, with sqlite-vec and every migration."""
    try:
        driver = find_driver()
        with tempfile.TemporaryDirectory() as folder:
            migrate(Path(folder) / "check.db", driver)
    except EvolveError as error:
        return Finding("sqlite", "problem", str(error), "pip install pysqlite3")
    # What a driver without extension loading or FTS5 raises is its own choice.
    except Exception as error:  # noqa: BLE001
        return Finding("sqlite", "problem", f"a test database could not be made: {error}", "pip install pysqlite3")
    vec = version("sqlite-vec")
    return Finding("sqlite", "ok", f"SQLite {driver.sqlite_version} through {driver.name}, sqlite-vec {vec}")


def _workspace(settings: Settings) -> Finding:
    try:
        WorkspacePaths(settings.home).prepare()
    except EvolveError as error:
        return Finding("workspace", "problem", str(error), "choose another with --workspace or ASI_EVOLVE_HOME")
    return Finding("workspace", "ok", str(settings.home))


def _disk(settings: Settings) -> Finding:
    place = settings.home if settings.home.exists() else settings.home.parent
    try:
        free = shutil.disk_usage(place).free / 1e6
    except OSError as error:
        return Finding("disk", "problem", f"{place}: {error}")
    if free < LOW_DISK_MB:
        return Finding("disk", "warning", f"{free:.0f} MB free at {place}", "make room: jobs may use 512 MB each")
    return Finding("disk", "ok", f"{free / 1000:.0f} GB free at {place}")


def _isolation(settings: Settings) -> Finding:
    try:
        isolation = find_isolation(describe_interpreter(settings.python or sys.executable, ()))
    except EvolveError as error:
        return Finding("sandbox", "problem", str(error))
    return Finding("sandbox", "ok", f"tier {isolation.name}")


def _gpus(settings: Settings) -> Finding:
    devices = settings.gpu_devices()
    text = f"devices {', '.join(map(str, devices))}" if devices else "none, so stages that need one cannot run"
    return Finding("gpus", "ok", text)


def _daemon(settings: Settings) -> Finding:
    about = daemon_about(WorkspacePaths(settings.home))
    if about is None:
        return Finding("engineer", "ok", "not running; a server starts it when there is work")
    own = version("asi-evolve-mcp")
    if about.get("version") != own:
        return Finding(
            "engineer",
            "warning",
            f"process {about.get('pid')} runs version {about.get('version')}, this is {own}",
            f"end it (kill {about.get('pid')}): running jobs go on, and the new one adopts them",
        )
    return Finding("engineer", "ok", f"runs as process {about.get('pid')}")


def _domains(settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    for name in domain_names():
        try:
            domain = find_domain(name)
            domain.cognition()
        except EvolveError as error:
            findings.append(Finding(f"domain {name}", "warning", str(error), "mend what is named, or remove it"))
            continue
        findings.append(_requirements(name, domain.spec.domain.requirements, settings))
    return findings


def _requirements(name: str, requirements: tuple[str, ...], settings: Settings) -> Finding:
    """Whether the packages of a domain are there; only the server's own interpreter can be asked without running it."""
    if settings.python is not None:
        return Finding(f"domain {name}", "ok", f"needs {', '.join(requirements)} in {settings.python}")
    missing = [package for package in requirement_names(requirements) if not _installed(package)]
    if missing:
        return Finding(f"domain {name}", "warning", f"lacks {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return Finding(f"domain {name}", "ok", "ready")


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
