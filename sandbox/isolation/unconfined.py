"""Tier `unconfined`: bounds and the filter of system calls, and nothing else. Only where a human asks for it by name.

A candidate can read and change every file that its user can. What it starts is ended, and scores carry the label.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import Request, Streams, Tier, make_view
from .monitored import start_monitored


@dataclass(frozen=True)
class Unconfined:
    """No sandbox to speak of."""

    name: Tier = "unconfined"
    has_namespaces: bool = False

    def fields(self) -> dict[str, str]:
        """What another process needs to make it again."""
        return {"tier": self.name}

    def start(self, request: Request, streams: Streams) -> int:
        """Fork a monitor, and beneath it the program."""
        job, tmp = make_view(request)
        return start_monitored(request, streams, job, tmp, lambda: None)
