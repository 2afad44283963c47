"""The cognition store: prior knowledge, each item with its source."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..evolution.models import CognitionItem, CognitionOrigin
from . import documents
from .connection import Reader, Row, Transaction


@dataclass(frozen=True)
class NewItem:
    """An item that is about to be stored. `domain` `None` is knowledge for every domain."""

    domain: str | None
    title: str
    body: str
    symptom: str
    source: str
    tags: Sequence[str]
    origin: CognitionOrigin


async def add(tx: Transaction, item: NewItem) -> tuple[int, bool]:
    """Store an item and return (its number, whether it is new). The same title and body again is the same item."""
    digest = hashlib.sha256(f"{item.title.strip()}\0{item.body.strip()}".encode()).hexdigest()
    known = await tx.value(
        "SELECT id FROM cognition WHERE ifnull(domain, '') = ifnull(?, '') AND sha256 = ?", (item.domain, digest)
    )
    if known is not None:
        return known, False
    number = await tx.insert(
        "INSERT INTO cognition (domain, title, body, symptom, source, tags_json, origin, sha256, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            item.domain,
            item.title,
            item.body,
            item.symptom,
            item.source,
            json.dumps(list(item.tags)),
            item.origin,
            digest,
            time.time(),
        ),
    )
    text = "\n".join((item.title, item.symptom, item.body, " ".join(item.tags)))
    await documents.put(tx, "cognition", number, text, domain=item.domain)
    return number, True


async def many(reader: Reader, numbers: Sequence[int]) -> list[CognitionItem]:
    """Items in the order asked for.

    Raises:
        NotFound: one of them does not exist.
    """
    return [_item(row) for row in await reader.numbered("SELECT * FROM cognition WHERE id", numbers, "k")]


async def count(reader: Reader, domain: str) -> int:
    """Items that a campaign on this domain can find."""
    return int(await reader.value("SELECT count(*) FROM cognition WHERE domain = ? OR domain IS NULL", (domain,)))


def _item(row: Row) -> CognitionItem:
    return CognitionItem(
        id=row["id"],
        domain=row["domain"],
        title=row["title"],
        body=row["body"],
        symptom=row["symptom"],
        source=row["source"],
        tags=tuple(json.loads(row["tags_json"])),
        origin=CognitionOrigin(row["origin"]),
        created_at=row["created_at"],
    )
