"""Whether a candidate is a program that the campaign has, or nearly one: what is refused, and what is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ..database import experiments, nodes, outlines
from ..database.connection import Reader, Transaction
from ..database.workspace import Workspace
from ..evolution.errors import BadInput, DuplicateCandidate, EvolveError
from ..evolution.ids import short_id
from ..evolution.models import Campaign, Node, NoveltyPolicy
from ..evolution.novelty.likeness import Comparison, Profile, compare, steps_changed, text_likeness
from ..evolution.novelty.nearness import FEW_STEPS, SAME_MOTIVATION, Verdict, motivation_decides, nearly_equal
from ..evolution.novelty.outline import outline_of
from ..evolution.text import excerpt
from .answers import number, without_none
from .candidates import Candidate
from .showing import Shown

LOOKED_AT = 6
"""Nodes with the most similar sketches that are compared in full."""
ADDED_MEANWHILE = 16
"""Nodes that other agents added since, which are compared while the write lock is held."""
FILLED_IN = 16
"""Nodes of an older database that get their outline in one call."""
WITHOUT_SCALE = ("lexical", "hybrid")
"""Methods of search whose scores order the hits and say no more."""
TOLD = 3
"""Nodes in an answer."""


@dataclass(frozen=True)
class Twin:
    """A node that a candidate is like."""

    node_id: int
    verdict: Verdict
    likeness: float
    differs: str


@dataclass(frozen=True)
class Seen:
    """What a search for programs like a candidate found, and up to which node it looked."""

    near: tuple[Twin, ...]
    newest: int


async def search(workspace: Workspace, campaign: Campaign, candidate: Candidate, interface: Collection[str]) -> Seen:
    """The nodes of a campaign that a candidate is nearly equal to, most alike first, whether they wait, run or ended.

    Nodes that an older version stored get their outline first, a few in each call: the parents, then the newest.
    """
    await _fill_in(workspace, campaign.id, candidate.parents, interface)
    reader = workspace.read
    newest = await outlines.newest(reader, campaign.id)
    found = await outlines.nearest(reader, campaign.id, candidate.profile.sketch, LOOKED_AT)
    profiles = await outlines.many(reader, list(dict.fromkeys([*found, *candidate.parents])))
    compared = _compared(candidate.profile, profiles)
    near = [_twin(node_id, entry) for node_id, entry in compared.items() if nearly_equal(entry)]
    undecided = [node_id for node_id, entry in compared.items() if motivation_decides(entry)]
    if undecided:
        alike = await _motivations(workspace, campaign.id, candidate, undecided)
        near += [_twin(entry, compared[entry]) for entry in undecided if nearly_equal(compared[entry], alike[entry])]
    return Seen(tuple(sorted(near, key=_most_alike_first)), newest)


async def judged(
    tx: Transaction, campaign: Campaign, policy: NoveltyPolicy, candidate: Candidate, seen: Seen
) -> list[Twin]:
    """The nodes that a candidate is like, those included that other agents have added since the search.

    Raises:
        DuplicateCandidate: the campaign refuses it.
    """
    twins = await _same(tx, campaign.id, candidate)
    if twins and policy != "allow":
        raise DuplicateCandidate(await _refusal(tx, campaign, twins), node=twins[0].node_id)
    known = {twin.node_id for twin in twins}
    twins += [twin for twin in await _near(tx, campaign.id, candidate, seen) if twin.node_id not in known]
    if twins and policy == "reject":
        found = await nodes.many(tx, [twin.node_id for twin in twins])
        # What failed has to be mended, and the mended program is nearly the same.
        standing = [twin for twin, node in zip(twins, found, strict=True) if not _failed(node)]
        if standing:
            raise DuplicateCandidate(await _refusal(tx, campaign, standing), node=standing[0].node_id)
    return twins


async def notice(reader: Reader, campaign: Campaign, twins: Sequence[Twin]) -> dict[str, Any] | None:
    """The verdict on a candidate that was stored, and what happened to the nodes it is like; `None` where it is new."""
    if not twins:
        return None
    told = twins[:TOLD]
    standing = await nodes.many(reader, [twin.node_id for twin in told])
    reports = await Shown.by(campaign.settings).reports(reader, [node.id for node in standing])
    closest = [
        without_none(
            {
                "node": short_id("n", node.id),
                "name": node.name,
                "likeness": round(twin.likeness, 3),
                "differs": twin.differs,
                "score": node.score,
                "unjudged": node.unjudged or None,
                "outcome": str(node.outcome) if node.outcome is not None and node.score is None else None,
                "status": str(node.status) if node.score is None and node.outcome is None else None,
                "reason": excerpt(await _reason(reader, node), 300) or None,
                "analysis": excerpt(reports[node.id].report, 300) if node.id in reports else None,
            }
        )
        for twin, node in zip(told, standing, strict=True)
    ]
    return {
        "verdict": told[0].verdict,
        "says": f"{_likes(told[0])} {short_id('n', standing[0].id)}, which {await _state(reader, standing[0])}.",
        "closest": closest,
    }


async def _same(tx: Transaction, campaign_id: int, candidate: Candidate) -> list[Twin]:
    exact = await nodes.with_fingerprint(tx, campaign_id, candidate.fingerprint)
    if exact is not None:
        return [Twin(exact, "exact", 1.0, "nothing: the syntax trees are equal")]
    renamed = await outlines.with_canonical(tx, campaign_id, candidate.profile.outline.canonical)
    return [Twin(renamed, "renamed", 1.0, "names of its own alone")] if renamed is not None else []


async def _near(tx: Transaction, campaign_id: int, candidate: Candidate, seen: Seen) -> list[Twin]:
    added = await outlines.added_after(tx, campaign_id, seen.newest, ADDED_MEANWHILE)
    compared = _compared(candidate.profile, await outlines.many(tx, added))
    undecided = [node_id for node_id, entry in compared.items() if motivation_decides(entry)]
    texts = await nodes.motivations(tx, undecided)
    meanwhile = [
        _twin(node_id, entry)
        for node_id, entry in compared.items()
        if nearly_equal(entry, text_likeness(candidate.motivation, texts[node_id]) if node_id in texts else 0.0)
    ]
    return sorted([*seen.near, *meanwhile], key=_most_alike_first)


def _compared(profile: Profile, others: dict[int, Profile]) -> dict[int, Comparison]:
    """Of those that can be near as many as are told of. Most nodes have other steps, which a count of tokens tells."""
    found: dict[int, Comparison] = {}
    for node_id, other in others.items():
        if steps_changed(profile, other) <= FEW_STEPS:
            found[node_id] = compare(profile, other)
            if sum(map(nearly_equal, found.values())) == TOLD:
                break
    return found


def _twin(node_id: int, found: Comparison) -> Twin:
    return Twin(node_id, "near", found.likeness, found.summary)


def _most_alike_first(twin: Twin) -> tuple[float, int]:
    return -twin.likeness, twin.node_id


async def _motivations(
    workspace: Workspace, campaign_id: int, candidate: Candidate, node_ids: Sequence[int]
) -> dict[int, float]:
    """How alike the motivations are: by words, and where there is an embedder by meaning, whichever is larger."""
    texts = await nodes.motivations(workspace.read, node_ids)
    alike = {node_id: text_likeness(candidate.motivation, texts[node_id]) for node_id in node_ids}
    if min(alike.values()) >= SAME_MOTIVATION:
        return alike
    try:
        found = await workspace.documents.find(
            f"{candidate.name}\n{candidate.motivation}", "motivation", campaigns=[campaign_id], limit=2 * LOOKED_AT
        )
    except EvolveError:  # an embedder that fails must not stop an experiment
        return alike
    if not found.method.startswith(WITHOUT_SCALE):
        alike |= {hit.ref_id: max(hit.score, alike[hit.ref_id]) for hit in found.hits if hit.ref_id in alike}
    return alike


async def _fill_in(workspace: Workspace, campaign_id: int, parents: Sequence[int], interface: Collection[str]) -> None:
    """Parents may be nodes of another campaign that exchanges elites with this one."""
    missing = await outlines.missing(workspace.read, campaign_id, FILLED_IN)
    known = await outlines.many(workspace.read, parents)
    wanted = dict.fromkeys([*(parent for parent in parents if parent not in known), *missing])
    if not wanted:
        return
    made = {node_id: await _profile(workspace.read, node_id, interface) for node_id in wanted}
    async with workspace.transaction() as tx:
        for node_id, profile in made.items():
            await outlines.put(tx, node_id, profile)


async def _profile(reader: Reader, node_id: int, interface: Collection[str]) -> Profile:
    files = await nodes.files(reader, node_id)
    try:
        profile = Profile(outline_of(files, interface))
    except BadInput:  # stored without a check, or for another version of Python
        profile = Profile(outline_of({f"{path}.txt": text for path, text in files.items()}))
    _ = profile.sketch  # worked out here, where nobody waits for the write lock
    return profile


def _failed(node: Node) -> bool:
    return node.score is None and node.outcome is not None and node.outcome.counts_against_candidate


async def _reason(reader: Reader, node: Node) -> str:
    """Why a node failed; empty where it has not."""
    if not _failed(node):
        return ""
    ended = [entry for entry in await experiments.of_node(reader, node.id) if entry.outcome is node.outcome]
    return ended[-1].reason if ended else ""


async def _state(reader: Reader, node: Node) -> str:
    if node.score is not None:
        return f"scored {number(node.score):.10g}{' (not judged yet)' if node.unjudged else ''}"
    if node.outcome is None:
        return f"is {node.status}"
    reason = excerpt(await _reason(reader, node), 200).rstrip(".")
    return f"ended as {node.outcome}" + (f": {reason}" if reason else "")


def _likes(twin: Twin) -> str:
    return {
        "exact": "This is the program of",
        "renamed": "With other names, this is the program of",
        "near": "This is nearly the program of",
    }[twin.verdict]


async def _refusal(tx: Transaction, campaign: Campaign, twins: Sequence[Twin]) -> str:
    told = twins[:TOLD]
    standing = await nodes.many(tx, [twin.node_id for twin in told])
    reports = await Shown.by(campaign.settings).reports(tx, [node.id for node in standing])
    first = told[0]
    lines = [
        f"n{node.id} ({node.name}), which {await _state(tx, node)}; what differs: {twin.differs}."
        + (f" Its analysis: {excerpt(reports[node.id].report, 400)}" if node.id in reports else "")
        for twin, node in zip(told, standing, strict=True)
    ]
    others = f" The next closest: {' '.join(lines[1:])}" if len(lines) > 1 else ""
    softer = "warn" if first.verdict == "near" else "allow"
    said = _likes(first)
    return (
        f"Expected a new program, but {said[0].lower()}{said[1:]} {lines[0]}{others} Nothing was stored. Change it, or "
        f"promote_node(node='n{first.node_id}') to run that one again. If such programs are wanted in this campaign: "
        f"update_campaign(campaign='c{campaign.id}', options={{'novelty': '{softer}'}})."
    )
