"""Scope: where a search may look, said to each index in its own language. Nothing outside of it is ever found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Entry = TypeVar("Entry", int, str)
DocumentKind = Literal["motivation", "analysis", "lesson", "cognition"]


@dataclass(frozen=True)
class Scope:
    """One kind of text; where given, only of some campaigns, of some domains or of none, or of some owners."""

    kind: DocumentKind
    campaigns: tuple[int, ...] | None = None
    domains: tuple[str, ...] | None = None
    among: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        kind: DocumentKind,
        campaigns: Sequence[int] | None = None,
        domain: str | Sequence[str] | None = None,
        among: Sequence[int] | None = None,
    ) -> Scope:
        """The scope that the arguments of a search name."""
        domains = [domain] if isinstance(domain, str) else domain
        return cls(kind, _each_once(campaigns), _each_once(domains), _each_once(among))

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
        if self.domains is not None:
            named = [f"{self.kind}d{domain.encode().hex()}x" for domain in self.domains]
            parts.append(" OR ".join([*named, f"{self.kind}dx"]))
        return " AND ".join(f"scope : ({part})" for part in parts or [f"{self.kind}x"])

    @property
    def condition(self) -> tuple[str, list[Any]]:
        """A SQL condition on `documents AS d`, and its parameters."""
        parts, parameters = ["d.kind = ?"], [self.kind]
        if self.campaigns is not None:
            parts.append("d.campaign_id IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps(self.campaigns))
        if self.domains is not None:
            parts.append("(d.domain IN (SELECT value FROM json_each(?)) OR d.domain IS NULL OR d.domain = '')")
            parameters.append(json.dumps(self.domains))
        if self.among is not None:
            parts.append("d.ref_id IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps(self.among))
        return " AND ".join(parts), parameters


def _each_once(entries: Sequence[Entry] | None) -> tuple[Entry, ...] | None:
    return None if entries is None else tuple(dict.fromkeys(entries))
