"""A candidate as an agent sends it, and all that is checked of it before it becomes a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..database import analyses, cognition, nodes
from ..database.connection import Reader
from ..database.map_elites import view as archive_view
from ..domains.loader import Domain
from ..domains.static_check import check_candidate
from ..evolution.edits import apply_edits, parse_edits
from ..evolution.errors import BadInput
from ..evolution.ids import Kind, parse_id, split_id
from ..evolution.models import Campaign
from ..evolution.novelty.fingerprint import fingerprint
from ..evolution.novelty.likeness import Profile
from ..evolution.novelty.outline import outline_of
from ..evolution.text import accepted


@dataclass(frozen=True)
class Program:
    """The three forms in which a program can be sent; exactly one must be given."""

    code: str | None
    files: Mapping[str, str] | None
    edits: str | None


@dataclass(frozen=True)
class Candidate:
    """What run_experiment was given, checked."""

    files: dict[str, str]
    fingerprint: str
    profile: Profile
    parents: list[int]
    inspired_by: list[tuple[Kind, int]]
    name: str
    motivation: str


async def checked(
    reader: Reader,
    campaign: Campaign,
    domain: Domain,
    name: str,
    motivation: str,
    program: Program,
    parents: list[str],
    inspired_by: list[str],
) -> Candidate:
    """Everything that can be said of a candidate without running it, said.

    Raises:
        BadInput: with what was expected, what came and what to do.
    """
    parent_ids = list(dict.fromkeys(parse_id(parent, "n") for parent in parents))
    await _check_parents(reader, campaign, parent_ids)
    files = await _files(reader, domain, program, parent_ids)
    trees = check_candidate(files, domain.spec.candidate)
    sources = [split_id(source) for source in inspired_by]
    await _check_sources(reader, sources)
    return Candidate(
        files=files,
        fingerprint=fingerprint(files, trees=trees),
        profile=Profile(outline_of(files, domain.spec.candidate.must_define, trees=trees)),
        parents=parent_ids,
        inspired_by=sources,
        name=accepted(name, "name", limit=80, one_line=True),
        motivation=accepted(motivation, "motivation", limit=8000),
    )


async def _check_parents(reader: Reader, campaign: Campaign, parent_ids: list[int]) -> None:
    if len(parent_ids) > 10:
        raise BadInput(f"Expected at most 10 parents, but got {len(parent_ids)}.")
    for parent in await nodes.many(reader, parent_ids):
        if parent.campaign_id != campaign.id and not await archive_view.is_immigrant(reader, campaign.id, parent.id):
            raise BadInput(
                f"Expected parents of campaign c{campaign.id}, but n{parent.id} belongs to c{parent.campaign_id}. "
                "Name it in inspired_by instead."
            )


async def _check_sources(reader: Reader, sources: list[tuple[Kind, int]]) -> None:
    if len(sources) > 30:
        raise BadInput(f"Expected at most 30 ids in inspired_by, but got {len(sources)}.")
    by_kind: dict[Kind, list[int]] = {"k": [], "n": [], "l": []}
    for kind, number_ in sources:
        if kind not in by_kind:
            raise BadInput(
                f"Expected inspired_by to name cognition (k), lessons (l) or nodes (n), but got {kind}{number_}."
            )
        by_kind[kind].append(number_)
    await cognition.many(reader, by_kind["k"])
    await nodes.many(reader, by_kind["n"])
    await analyses.lessons(reader, by_kind["l"])


async def _files(reader: Reader, domain: Domain, program: Program, parent_ids: list[int]) -> dict[str, str]:
    forms = {"code": program.code, "files": program.files, "edits": program.edits}
    given = [name for name, value in forms.items() if value is not None]
    if len(given) != 1:
        raise BadInput(f"Expected exactly one of code, files, edits, but got {' and '.join(given) or 'none'}.")
    if program.code is not None:
        return {domain.spec.candidate.entry: program.code}
    if program.files is not None:
        return dict(program.files)
    edits = program.edits or ""
    if not parent_ids:
        raise BadInput("Expected parents=['n...'] with edits: they apply to the first parent's files.")
    allowed = 2 * domain.spec.candidate.max_bytes  # old text and new text of the largest candidate
    if len(edits) > allowed:
        raise BadInput(
            f"Expected edits of at most {allowed} characters, but got {len(edits)}. Send the whole program instead."
        )
    return apply_edits(await nodes.files(reader, parent_ids[0]), parse_edits(edits))
