"""The command `check-domain`: runs the check and shows its report to people or programs."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..domains.loader import Domain, find_domain, load_domain
from .settings import Settings

if TYPE_CHECKING:
    from ..sandbox.domain_check import DomainCheck

INTERRUPTED = 128 + signal.SIGINT
STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


def report(settings: Settings, path: str, stage: str | None, *, as_json: bool) -> int:
    """Check a domain and print what came of it; the exit status is 1 where it failed.

    Raises:
        EvolveError: it cannot be checked at all.
    """
    from ..sandbox.domain_check import check_domain

    began = time.monotonic()

    def progress(line: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {line}", file=sys.stderr, flush=True)

    try:
        check = check_domain(
            _find(path),
            stage=stage,
            python=settings.python or sys.executable,
            cpus=settings.cpu_slots,
            gpus=settings.gpu_devices(),
            minimum=settings.sandbox_minimum,
            progress=progress,
        )
    except KeyboardInterrupt:
        progress("stopped; what ran has been ended")
        return INTERRUPTED
    if as_json:
        print(json.dumps({**asdict(check), "passed": check.passed}, indent=1))
    else:
        _show(check)
    return 0 if check.passed else 1


def _find(path: str) -> Domain:
    """A folder wins over a name, and may be relative to where the command runs."""
    folder = Path(path).expanduser()
    return load_domain(folder) if folder.is_dir() or "/" in path else find_domain(path)


def _show(check: DomainCheck) -> None:
    """The table, and what failed once more below it: the table is long."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(
        title=f"{check.domain} {check.version} at stage {check.stage}, tier {check.tier}", title_justify="left"
    )
    for column in ("", "case", "what came of it"):
        table.add_column(column, overflow="fold")
    for line in check.lines:
        table.add_row(Text(line.state, STYLES[line.state]), Text(line.case), Text(line.text))
    console.print(table)
    counts = {state: sum(line.state == state for line in check.lines) for state in STYLES}
    for line in check.lines:
        if line.state == "failed":
            console.print(Text.assemble(("failed  ", "red"), f"{line.case}: {line.text}"))
    verdict = "A campaign can start." if check.passed else "Mend what failed before a campaign starts."
    console.print(
        f"{counts['ok']} ok, {counts['warning']} warnings, {counts['failed']} failed. {verdict}", markup=False
    )
