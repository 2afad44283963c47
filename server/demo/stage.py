"""What the demo shows in the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rich.console import Console
from rich.panel import Panel
from rich.status import Status
from rich.text import Text
from rich.tree import Tree

BAR = 32
DECADES = 6


@dataclass(frozen=True)
class Played:
    """A node that the demo made."""

    name: str
    node: str
    parent: str | None
    outcome: str
    score: float | None


@dataclass
class Stage:
    """Prints the campaign as it goes, and the pictures of it at the end."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    _status: Status | None = None

    def opening(self, workspace: str) -> None:
        """What is real here and what is not."""
        self.console.print(
            Panel(
                "The Researcher and the Analyzer of this demo are [b]scripted[/]: their programs and analyses come "
                "from files. Everything else is real: the MCP server over stdio, the engineer daemon, the sandbox, "
                f"the exact evaluator, the scores.\n[dim]workspace {workspace}[/]",
                title="asi-evolve demo: 26 circles in a unit square, largest sum of radii",
                border_style="blue",
            )
        )

    def heading(self, number: int, of: int, name: str, idea: str) -> None:
        """A round begins."""
        self.console.print(f"\n[b]Round {number}/{of}  {name}[/]")
        self.console.print(Text(idea, style="italic"))

    def say(self, label: str, text: str) -> None:
        """A line of what an agent does or hears."""
        self.console.print(Text.assemble((f"{label:>12}  ", "cyan"), text))

    def waiting(self, text: str) -> None:
        """The experiment runs."""
        if self._status is None:
            self._status = self.console.status("")
            self._status.start()
        self._status.update(f"  {text}")

    def result(self, outcome: str, score: float | None, gain: float | None, reason: str, took: str) -> None:
        """The experiment has finished."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        line = Text.assemble(("      result  ", "cyan"))
        if score is None:
            line.append(outcome, style="bold red")
            line.append(f"  {reason.splitlines()[-1][:200] if reason else ''}")
        else:
            line.append(f"{score:.12f}", style="bold green")
            if gain is not None:
                line.append(f"  {gain:+.6f} on its parent", style="green" if gain > 0 else "yellow")
        line.append(f"  ({took})", style="dim")
        self.console.print(line)

    def lineage(self, played: list[Played]) -> None:
        """Who came from whom."""
        branches: dict[str, Tree] = {}
        root: Tree | None = None
        for entry in played:
            score = f"[green]{entry.score:.6f}[/]" if entry.score is not None else f"[red]{entry.outcome}[/]"
            label = f"{entry.node} {entry.name}  {score}"
            if entry.parent is None or root is None:
                root = branches[entry.name] = Tree(label)
            else:
                branches[entry.name] = branches[entry.parent].add(label)
        if root is not None:
            self.console.print("\n[b]Lineage[/]")
            self.console.print(root)

    def staircase(self, played: list[Played]) -> None:
        """The best score after each round. The bars are logarithmic: each step right is ten times closer to the end."""
        scores = [entry.score for entry in played if entry.score is not None]
        low, high = min(scores), max(scores)
        best = low
        self.console.print("\n[b]Best score so far[/] [dim](bar: how close to the last step, logarithmic)[/]")
        for entry in played:
            better = entry.score is not None and (entry.score > best or entry is played[0])
            best = max(best, entry.score or best)
            gap = (high - best) / (high - low) if high > low else 0.0
            length = 1 + round((BAR - 1) * -math.log10(max(gap, 10**-DECADES)) / DECADES)
            mark = " [green]new best[/]" if better else ""
            self.console.print(f"  {entry.node:>4}  [blue]{'█' * length:<{BAR}}[/]  {best:.15f}{mark}")
