"""The cognition store: prior knowledge, each item with its source."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..evolution.errors import BadInput
from ..evolution.knowledge import Knowledge, union
from ..evolution.models import CognitionItem, CognitionOrigin
from ..evolution.sources import canonical_source
from .connection import Reader, Row, Transaction
from .search import documents


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
    more_sources: Sequence[str] = ()

    @classmethod
    def of(cls, knowledge: Knowledge, domain: str | None, origin: CognitionOrigin) -> NewItem:
        """Checked texts, ready to store."""
        return cls(
            domain=domain,
            title=knowledge.title,
            body=knowledge.body,
            symptom=knowledge.symptom,
            source=knowledge.sources[0],
            tags=knowledge.tags,
            origin=origin,
            more_sources=knowledge.sources[1:],
        )

    @property
    def knowledge(self) -> Knowledge:
        """Its texts, to compare."""
        sources = (self.source, *self.more_sources)
        return Knowledge(self.title, self.body, self.symptom, sources, tuple(self.tags))


@dataclass(frozen=True)
class Merged:
    """What became of an item that was merged into an older one."""

    replaced: bool
    """The older item shows the new text, which says more, and keeps its own as a variant."""
    sources: tuple[str, ...]
    """That the older item did not have."""
    tags: tuple[str, ...]
    """That the older item did not have."""


@dataclass(frozen=True)
class Variant:
    """A text that was merged into an item and is not shown with it."""

    item_id: int
    title: str
    body: str
    source: str


async def add(tx: Transaction, item: NewItem) -> tuple[int, bool]:
    """Store an item and return (its number, whether it is new). The same title and body again is the same item."""
    if (number := await known(tx, item)) is not None:
        return number, False
    number = await tx.insert(
        "INSERT INTO cognition (domain, title, body, symptom, source, more_sources_json, tags_json, origin, sha256,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            item.domain,
            item.title,
            item.body,
            item.symptom,
            item.source,
            json.dumps(list(item.more_sources)),
            json.dumps(list(item.tags)),
            item.origin,
            _digest(item.title, item.body),
            time.time(),
        ),
    )
    await documents.put(tx, "cognition", number, _search_text(item.knowledge), domain=item.domain)
    return number, True


async def known(reader: Reader, item: NewItem) -> int | None:
    """The item that has this title and body, shown or as a variant, where a search in this domain can find it."""
    return await reader.value(
        "SELECT id FROM cognition WHERE ifnull(domain, '') = ifnull(?1, '') AND sha256 = ?2"
        " UNION ALL SELECT item_id FROM cognition_variants WHERE ifnull(domain, '') = ifnull(?1, '') AND sha256 = ?2"
        " UNION ALL SELECT id FROM cognition WHERE domain IS NULL AND sha256 = ?2"
        " UNION ALL SELECT item_id FROM cognition_variants WHERE domain IS NULL AND sha256 = ?2",
        (item.domain, _digest(item.title, item.body)),
    )


async def set_apart(tx: Transaction, item: NewItem) -> None:
    """Let go of this text where an older item of the same domain hides it, so that it can be an item of its own."""
    await tx.execute(
        "DELETE FROM cognition_variants WHERE ifnull(domain, '') = ifnull(?1, '') AND sha256 = ?2",
        (item.domain, _digest(item.title, item.body)),
    )


async def merge(tx: Transaction, into: int, new: NewItem) -> Merged:
    """Let an older item take over what a new one adds: sources, tags, and the text where it is longer.

    The number stays. The text that is not shown is kept as a variant, so that it is known when it comes again. Where
    the new text is `known`, it has to be merged into the item that has it.
    """
    (old,) = await many(tx, [into])
    before = item_knowledge(old)
    replaced = len(new.body) > len(old.body)
    after = Knowledge(
        title=new.title if replaced else old.title,
        body=new.body if replaced else old.body,
        symptom=max(old.symptom, new.symptom, key=len),
        sources=union(before.sources, new.knowledge.sources),
        tags=union(old.tags, new.tags),
    )
    if (hidden := before if replaced else new.knowledge).text != after.text:
        await _keep_variant(tx, into, old.domain if replaced else new.domain, hidden)
    if after != before:
        await _rewrite(tx, into, after)
    return Merged(
        replaced,
        tuple(source for source in after.sources if source not in before.sources),
        tuple(tag for tag in after.tags if tag not in old.tags),
    )


async def _keep_variant(tx: Transaction, item_id: int, domain: str | None, text: Knowledge) -> None:
    await tx.execute(
        "INSERT OR IGNORE INTO cognition_variants (item_id, domain, title, body, symptom, source, sha256, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            item_id,
            domain,
            text.title,
            text.body,
            text.symptom,
            text.sources[0],
            _digest(text.title, text.body),
            time.time(),
        ),
    )


async def _rewrite(tx: Transaction, number: int, text: Knowledge) -> None:
    await tx.execute(
        "UPDATE cognition SET title = ?, body = ?, symptom = ?, more_sources_json = ?, tags_json = ?, sha256 = ?"
        " WHERE id = ?",
        (
            text.title,
            text.body,
            text.symptom,
            json.dumps(text.sources[1:]),
            json.dumps(text.tags),
            _digest(text.title, text.body),
            number,
        ),
    )
    await documents.replace_text(tx, "cognition", number, _search_text(text))


async def many(reader: Reader, numbers: Sequence[int]) -> list[CognitionItem]:
    """Items in the order asked for.

    Raises:
        NotFound: one of them does not exist.
    """
    rows = await reader.numbered("SELECT * FROM cognition WHERE id", numbers, "k", "search_cognition finds them.")
    return [_item(row) for row in rows]


async def of_sources(reader: Reader, sources: Sequence[str], limit: int = 50) -> list[int]:
    """The newest items that come from any of some sources."""
    rows = await reader.all(
        "SELECT DISTINCT item_id FROM cognition_sources WHERE source IN (SELECT value FROM json_each(?))"
        " ORDER BY item_id DESC LIMIT ?",
        (json.dumps(list(sources)), limit),
    )
    return [row["item_id"] for row in rows]


async def carrying(
    reader: Reader, tags: Sequence[str], origin: CognitionOrigin | None, *, but: CognitionOrigin | None = None
) -> list[int]:
    """Items that carry at least one of some tags, whatever their case, and have an origin, or have another one than
    `but`; each may be left open."""
    rows = await reader.all(
        "SELECT id FROM cognition WHERE (?1 IS NULL OR origin = ?1)"
        " AND (?3 IS NULL OR origin <> ?3)"
        " AND (?2 = '[]' OR id IN (SELECT item_id FROM cognition_tags WHERE tag IN (SELECT value FROM json_each(?2))))",
        (origin, json.dumps(list(tags)), but),
    )
    return [row["id"] for row in rows]


async def variants(reader: Reader, numbers: Sequence[int]) -> list[Variant]:
    """The texts that were merged into some items, oldest first."""
    rows = await reader.all(
        "SELECT item_id, title, body, source FROM cognition_variants WHERE item_id IN (SELECT value FROM json_each(?))"
        " ORDER BY id",
        (json.dumps(list(numbers)),),
    )
    return [Variant(row["item_id"], row["title"], row["body"], row["source"]) for row in rows]


async def of_domain(reader: Reader, domain: str | None) -> list[CognitionItem]:
    """Every item of one domain alone, or (`None`) that is for every domain, oldest first."""
    return [_item(row) for row in await reader.all("SELECT * FROM cognition WHERE domain IS ? ORDER BY id", (domain,))]


async def counts(reader: Reader) -> dict[str | None, int]:
    """Items of each domain; `None` are those for every domain."""
    rows = await reader.all("SELECT domain, count(*) AS items FROM cognition GROUP BY domain ORDER BY domain")
    return {row["domain"]: row["items"] for row in rows}


async def count(reader: Reader, domain: str) -> int:
    """Items that a campaign on this domain can find."""
    return int(await reader.value("SELECT count(*) FROM cognition WHERE domain = ? OR domain IS NULL", (domain,)))


def item_knowledge(item: CognitionItem) -> Knowledge:
    """The texts of an item, to compare; its sources in canonical form, which an older version did not store."""
    sources = union((_canonical(item.source),), item.more_sources)
    return Knowledge(item.title, item.body, item.symptom, sources, item.tags)


def _canonical(source: str) -> str:
    try:
        return canonical_source(source)
    except BadInput:  # an older version took any text
        return source


def _digest(title: str, body: str) -> str:
    return hashlib.sha256(f"{title.strip()}\0{body.strip()}".encode()).hexdigest()


def _search_text(item: Knowledge) -> str:
    return "\n".join((item.title, item.symptom, item.body, " ".join(item.tags)))


def _item(row: Row) -> CognitionItem:
    return CognitionItem(
        id=row["id"],
        domain=row["domain"],
        title=row["title"],
        body=row["body"],
        symptom=row["symptom"],
        source=row["source"],
        more_sources=tuple(json.loads(row["more_sources_json"])),
        tags=tuple(json.loads(row["tags_json"])),
        origin=CognitionOrigin(row["origin"]),
        created_at=row["created_at"],
    )
