"""What a check of this machine found, and the page on which a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "optional", "warning", "problem"]
"""`optional`: not there, and only needed for some of what can be done."""

STYLES: dict[State, str] = {"ok": "green", "optional": "cyan", "warning": "yellow", "problem": "bold red"}


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


def print_findings(findings: Sequence[Finding]) -> None:
    """The page, in colour where the terminal has it. Lines are not broken: remedies are there to be copied."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        state = (f"{finding.state:>8}", STYLES[finding.state])
        console.print(Text.assemble(state, f"  {finding.subject:<{width}}  {finding.text}"))
        if finding.remedy:
            console.print(Text(f"{'':>8}  {'':<{width}}  -> {finding.remedy}"))
    blocked = [finding.subject for finding in findings if finding.blocks]
    console.print()
    if blocked:
        console.print(Text(f"Experiments cannot run: {', '.join(blocked)}.", STYLES["problem"]))
    else:
        console.print(Text("Experiments can run.", STYLES["ok"]))
