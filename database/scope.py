"""Scope: where a search may look, said to each index in its own language. Nothing outside of it is ever found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

DocumentKind = Literal["motivation", "analysis", "lesson", "cognition"]


@dataclass(frozen=True)
class Scope:
    """One kind of text; where given, only of some campaigns, of a domain or of none, or of what has some numbers."""

    kind: DocumentKind
    campaigns: tuple[int, ...] | None = None
    domain: str | None = None
    among: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        kind: DocumentKind,
        campaigns: Sequence[int] | None = None,
        domain: str | None = None,
        among: Sequence[int] | None = None,
    ) -> Scope:
        """The scope that the arguments of a search name."""
        return cls(kind, _each_once(campaigns), domain, _each_once(among))

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be in it."""
        return () in (self.campaigns, self.among)

    @property
    def words(self) -> str:
        """An FTS5 expression over the column `documents.scope` (its words are made in 0006_search.sql).

        It knows nothing of `among`.
        """
        parts: list[str] = []
        if self.campaigns is not None:
            parts.append(" OR ".join(f"{self.kind}{campaign}cx" for campaign in self.campaigns))
        if self.domain is not None:
            parts.append(f"{self.kind}d{self.domain.encode().hex()}x OR {self.kind}dx")
        return " AND ".join(f"scope : ({part})" for part in parts or [f"{self.kind}x"])

    @property
    def condition(self) -> tuple[str, list[Any]]:
        """A SQL condition on `documents AS d`, and its parameters."""
        parts, parameters = ["d.kind = ?"], [self.kind]
        if self.campaigns is not None:
            parts.append("d.campaign_id IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps(self.campaigns))
        if self.domain is not None:
            parts.append("(d.domain = ? OR d.domain IS NULL OR d.domain = '')")
            parameters.append(self.domain)
        if self.among is not None:
            parts.append("d.ref_id IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps(self.among))
        return " AND ".join(parts), parameters


def _each_once(numbers: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if numbers is None else tuple(dict.fromkeys(numbers))
