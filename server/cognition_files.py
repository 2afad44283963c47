"""Takes the cognition of a workspace out as YAML and in again, in the form of a domain's `cognition.yaml`."""

from __future__ import annotations

from pathlib import Path

from ..database import cognition
from ..database.cognition import NewItem
from ..database.workspace import Workspace, open_workspace
from ..domains.cognition_file import SeedCognition, read_items, written_items
from ..domains.loader import find_domain
from ..evolution.errors import BadInput, DomainError
from ..evolution.ids import short_id
from ..evolution.models import CognitionOrigin
from ..tools.deduplication import Stored, nearest, store
from .export import existing_workspace


async def export_items(home: Path, file: Path, domain: str | None) -> int:
    """Write the items of a domain, or (`None`) those for every domain, to a new file.

    Raises:
        BadInput: the file exists already, or there is nothing to write.
        NotFound: there is no workspace.
    """
    if file.exists():
        raise BadInput(f"Expected a file that does not exist yet, but {file} does. Choose another name.")
    async with open_workspace(existing_workspace(home)) as workspace:
        domain = await _domain_name(workspace, domain)
        items = await cognition.of_domain(workspace.read, domain)
        others = await _others(workspace, domain)
    if not items:
        raise BadInput(f"Expected items {_named(domain)}, but there is none. {others}".strip())
    text = written_items([SeedCognition.of(cognition.item_knowledge(item)) for item in items])
    with file.open("x", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
    print(f"Wrote {_counted(len(items))} {_named(domain)} to {file}. {others}".strip())
    return 0


async def import_items(home: Path, file: Path, domain: str | None) -> int:
    """Store the items of a file for a domain, or (`None`) for every domain: all of them or none.

    Near-duplicates of stored items are merged, and said; the items of the file are not compared with each other.

    Raises:
        DomainError: the file breaks the form; the message names item and key.
        NotFound: there is no such workspace or domain.
    """
    items = read_items(file)
    if not items:
        raise DomainError(f"{file}: expected a list of items, but it is empty.")
    async with open_workspace(existing_workspace(home)) as workspace:
        domain = await _domain_name(workspace, domain)
        new = [NewItem.of(item.knowledge, domain, CognitionOrigin.HUMAN) for item in items]
        close = await nearest(workspace, new, among_themselves=False)
        async with workspace.transaction() as tx:
            stored = await store(tx, new, close, merge=True)
    print(f"Stored {_counted(len(stored.added))} of {len(items)} {_named(domain)}.")
    for line in _notices(stored):
        print(line)
    return 0


def _notices(stored: Stored) -> list[str]:
    lines = [f"  {_counted(len(stored.known))} known already"] if stored.known else []
    for entry in stored.merged:
        shown = "which shows the new text now" if entry.what.replaced else "which keeps its text"
        lines.append(f"  item {entry.place} merged into {short_id('k', entry.into)}, {shown}: {entry.why}")
    lines += [
        f"  {short_id('k', entry.number)} is close to {short_id('k', entry.near)}: {entry.why}" for entry in stored.near
    ]
    return lines


async def _domain_name(workspace: Workspace, given: str | None) -> str | None:
    """The name of a domain given by name or path. A mistyped one must not make knowledge that no campaign can find."""
    if given is None or given in await cognition.counts(workspace.read):
        return given
    return find_domain(given).name


async def _others(workspace: Workspace, domain: str | None) -> str:
    counted = await cognition.counts(workspace.read)
    parts = [f"{number} {_named(name)}" for name, number in counted.items() if name != domain]
    return f"The workspace also holds {', '.join(parts)}." if parts else ""


def _named(domain: str | None) -> str:
    return "for every domain" if domain is None else f"of domain {domain}"


def _counted(items: int) -> str:
    return "1 item" if items == 1 else f"{items} items"
