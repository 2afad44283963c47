"""What a question or the results of nodes call up: cognition and lessons, as far as the asking campaign shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..database import analyses, cognition, nodes, promotions
from ..database.connection import Reader
from ..database.search.documents import DocumentKind, Found
from ..database.workspace import Workspace
from ..evolution.errors import BadInput
from ..evolution.models import CognitionItem, CognitionOrigin, Lesson
from ..evolution.text import accepted
from .scopes import Outlook
from .showing import Shown

THRESHOLD = 0.25
"""Least cosine similarity of what is shown. Of the right answers among five that MiniLM finds in
benchmarks/retrieval.py it keeps all 29; the published 0.4, for another model, would keep 11."""
DIVERSITY = 0.2
"""Share of unlikeness in the choice of answers (MMR). On benchmarks/retrieval.py, which holds no copies, it costs 3 of
the 28 questions that are answered in five; copies of one answer no longer take every place."""


@dataclass(frozen=True)
class Recalled:
    """Items and lessons that fit a question, and how they were found."""

    items: list[CognitionItem]
    lessons: list[Lesson]
    method: str


@dataclass(frozen=True)
class Choosiness:
    """How near answers must be, and how unlike each other."""

    threshold: float = THRESHOLD
    diversity: float = DIVERSITY


async def recall(
    workspace: Workspace,
    queries: Sequence[str],
    view: Outlook,
    top_k: int,
    *,
    tags: Sequence[str] = (),
    origin: CognitionOrigin | None = None,
    choosiness: Choosiness | None = None,
) -> Recalled:
    """The cognition and the lessons in view that fit any of some queries best.

    Lessons have no origin: they are left out where one is asked for. So is a lesson beside the item that it became.
    """
    shown = Shown.by(view.home.settings)
    if not shown.cognition and not shown.lessons:
        return Recalled([], [], "none: both memories are switched off")
    how = choosiness or Choosiness()
    hidden = None if shown.lessons else CognitionOrigin.LESSON  # else they would take the places of what is shown
    narrowed = bool(tags) or origin is not None or hidden is not None
    among = await cognition.carrying(workspace.read, tags, origin, but=hidden) if narrowed else None
    found = await _find(workspace, queries, "cognition", top_k, how, domain=view.domains, among=among)
    items = await shown.items(workspace.read, [hit.ref_id for hit in found.hits])
    if origin is not None:
        return Recalled(items, [], found.method)
    tagged = await analyses.lessons_with(workspace.read, view.numbers, tags) if tags else None
    learned = await _find(workspace, queries, "lesson", top_k, how, campaigns=view.numbers, among=tagged)
    lessons = await shown.numbered_lessons(workspace.read, [hit.ref_id for hit in learned.hits])
    return Recalled(items, await but_for(workspace.read, lessons, items), found.method)


async def but_for(reader: Reader, lessons: Sequence[Lesson], items: Sequence[CognitionItem]) -> list[Lesson]:
    """The lessons that became none of the items: both would say the same."""
    became = await promotions.items_of(reader, [lesson.id for lesson in lessons])
    told = {item.id for item in items}
    return [lesson for lesson in lessons if became.get(lesson.id) not in told]


async def lessons_elsewhere(workspace: Workspace, queries: Sequence[str], view: Outlook, most: int) -> list[Lesson]:
    """The lessons of the other campaigns in view that fit best. They are looked for apart: a campaign's own are nearer
    to its nodes and would take every place."""
    others = [campaign.id for campaign in view.within if campaign.id != view.home.id]
    if not others or not Shown.by(view.home.settings).lessons:
        return []
    found = await _find(workspace, queries, "lesson", most, Choosiness(), campaigns=others)
    return await Shown.by(view.home.settings).numbered_lessons(workspace.read, [hit.ref_id for hit in found.hits])


async def _find(
    workspace: Workspace,
    queries: Sequence[str],
    kind: DocumentKind,
    top_k: int,
    how: Choosiness,
    *,
    campaigns: Sequence[int] | None = None,
    domain: Sequence[str] | None = None,
    among: Sequence[int] | None = None,
) -> Found:
    return await workspace.documents.find(
        queries,
        kind,
        campaigns=campaigns,
        domain=domain,
        among=among,
        limit=top_k,
        threshold=how.threshold,
        diversity=how.diversity,
    )


async def lesson_marks(workspace: Workspace, view: Outlook, lessons: Sequence[Lesson]) -> dict[int, dict[str, Any]]:
    """Lesson number to where it comes from, if from elsewhere, and the item that it has become."""
    promoted = await Shown.by(view.home.settings).promoted(workspace.read, lessons)
    return {lesson.id: view.mark(lesson.campaign_id) | promoted.get(lesson.id, {}) for lesson in lessons}


async def questions(workspace: Workspace, query: str, node_ids: Sequence[int], shown: Shown) -> list[str]:
    """The texts to search with: the caller's own words, and each node's analysis where it is shown, else its name and
    motivation.

    Raises:
        BadInput: there is neither.
    """
    asked = [accepted(query, "query", limit=4000, required=False)]
    if not asked[0] and not node_ids:
        raise BadInput("Expected a query or nodes to search with, but query is empty and nodes too. Give one or both.")
    if node_ids:
        found = await nodes.many(workspace.read, node_ids)
        reports = await shown.reports(workspace.read, node_ids)
        motivations = await nodes.motivations(workspace.read, node_ids)
        asked += [
            reports[node.id].report if node.id in reports else f"{node.name}\n{motivations.get(node.id, '')}"
            for node in found
        ]
    return list(dict.fromkeys(text for text in asked if text))
