"""Writes a node's program for another trainer, by the templates that its domain brings in `exports/NAME`.

In names and texts of a template the word NODE, also as a part of a name such as `evolved_NODE`, becomes the node's id.
The line `# PROGRAM` becomes the text of its entry file; what other files it has are laid beside.
"""

from __future__ import annotations

import ast
import re
import shutil
import symtable
from pathlib import Path

from ..database import campaigns, nodes
from ..database.workspace import open_workspace
from ..domains.loader import Domain, find_domain
from ..evolution.errors import BadInput
from ..evolution.ids import parse_id, short_id
from .export import existing_workspace

NODE = re.compile(r"(?<![A-Za-z0-9])NODE(?![A-Za-z0-9])")
PROGRAM = "# PROGRAM\n"


async def export_for(home: Path, node: str, target: str, folder: Path | None) -> int:
    """Write the program of a node to a new folder, `n42-verl` where none is named.

    Raises:
        BadInput: the folder exists, the domain has no such export, or the program cannot be put into one file.
        NotFound: there is no such workspace, node or domain.
    """
    async with open_workspace(existing_workspace(home)) as workspace:
        chosen = await nodes.get(workspace.read, parse_id(node, "n"))
        files = await nodes.files(workspace.read, chosen.id)
        campaign = await campaigns.get(workspace.read, chosen.campaign_id)
    name = short_id("n", chosen.id)
    domain = find_domain(campaign.domain)
    templates = _templates(domain, target)
    program = _program(files, domain.spec.candidate.entry)
    folder = folder or Path(f"{name}-{target}")
    if folder.exists():
        raise BadInput(f"Expected a folder that does not exist yet, but {folder} does. Choose another name.")
    written = {NODE.sub(name, path): _filled(templates[path], name, program) for path in sorted(templates)}
    if taken := written.keys() & files.keys():
        raise BadInput(f"Expected no file {min(taken)} in the program, since the export has one. Rename it in a node.")
    folder.mkdir(parents=True)
    for path, text in (files | written).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    for path, template in templates.items():
        shutil.copymode(template, folder / NODE.sub(name, path))
    print(f"Wrote {name} for {target} to {folder}. Read {folder / 'README.md'} first.")
    return 0


def _templates(domain: Domain, target: str) -> dict[str, Path]:
    """Name to path of the files of an export."""
    places = sorted(path for path in (domain.folder / "exports").glob("*/") if path.name != "__pycache__")
    for place in places:
        if place.name == target:
            found = (path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
            return {path.relative_to(place).as_posix(): path for path in found}
    choice = f"one of {', '.join(place.name for place in places)}" if places else "nothing, since it brings no exports"
    raise BadInput(f"Expected --for to be {choice} for domain {domain.name}, but got {target!r}.")


def _program(files: dict[str, str], entry: str) -> str:
    """The entry file of a program, ready to be followed by more; taken out of `files`."""
    text = files.pop(entry)
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise BadInput(f"Expected {entry} to be Python, but: {error}. Choose a node that has scored.") from error
    return text if text.endswith("\n") else f"{text}\n"


def _filled(template: Path, node: str, program: str) -> str:
    text = NODE.sub(node, template.read_text(encoding="utf-8"))
    if PROGRAM not in text:
        return text
    head, _, rest = text.partition(PROGRAM)
    if both := _bound(rest) & _bound(program):
        raise BadInput(f"Expected a program that leaves the name {min(both)} to the export. Rename it in a node.")
    return head + program + rest


def _bound(text: str) -> set[str]:
    """Names that a program gives a meaning to at its top level."""
    return {
        symbol.get_name()
        for symbol in symtable.symtable(text, "program", "exec").get_symbols()
        if symbol.is_assigned() or symbol.is_imported()
    }
