"""What a campaign shows an agent of analyses, lessons and cognition: the one place that obeys its ablation switches.

Every tool and resource reaches these texts through here (`tests/test_architecture.py` holds that), so that a campaign
that measures what one of the memories is worth leaks nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..database import analyses, campaigns, cognition, promotions
from ..database.analyses import Analysis
from ..database.connection import Reader
from ..database.workspace import Workspace
from ..evolution.ids import short_id
from ..evolution.models import CampaignOptions, CognitionItem, CognitionOrigin, Lesson
from .answers import lesson_fields

COGNITION_OFF = "Cognition is switched off in this campaign (options.cognition=false): no item is shown."
LESSONS_OFF = (
    "Lessons are switched off in this campaign (options.lessons=false): no analysis and no lesson is shown, raw "
    "results only."
)


@dataclass(frozen=True)
class Shown:
    """Which of the two memories' texts a campaign lets an agent see."""

    cognition: bool
    lessons: bool

    @classmethod
    def by(cls, options: CampaignOptions) -> Shown:
        """As the switches of a campaign stand."""
        return cls(cognition=options.cognition, lessons=options.lessons)

    @classmethod
    async def of(cls, reader: Reader, campaign_id: int) -> Shown:
        """As the switches of a stored campaign stand.

        Raises:
            NotFound: there is no such campaign.
        """
        return cls.by((await campaigns.get(reader, campaign_id)).settings)

    @property
    def notice(self) -> str | None:
        """What is held back and by which option, for the agent that would else look for it."""
        parts = [text for text, on in ((COGNITION_OFF, self.cognition), (LESSONS_OFF, self.lessons)) if not on]
        return " ".join(parts) or None

    async def reports(self, reader: Reader, node_ids: Sequence[int]) -> dict[int, Analysis]:
        """Node number to its newest analysis, where there is one to show."""
        return await analyses.latest(reader, node_ids) if self.lessons else {}

    async def lessons_of(self, reader: Reader, node_id: int) -> list[Lesson]:
        """Lessons drawn from a node, oldest first."""
        return await analyses.lessons_of(reader, node_id) if self.lessons else []

    async def latest_lessons(self, reader: Reader, campaign_id: int, limit: int) -> list[Lesson]:
        """The newest lessons of a campaign, newest first."""
        return await analyses.latest_lessons(reader, campaign_id, limit) if self.lessons else []

    async def numbered_lessons(self, reader: Reader, numbers: Sequence[int]) -> list[Lesson]:
        """Lessons that a search found, in its order."""
        return await analyses.lessons(reader, numbers) if self.lessons else []

    async def items(self, reader: Reader, numbers: Sequence[int]) -> list[CognitionItem]:
        """Cognition items that a search found, in its order. One that was a lesson is a lesson too."""
        found = await cognition.many(reader, numbers) if self.cognition else []
        return [item for item in found if self.shows_origin(item.origin)]

    async def by_analysis(
        self, workspace: Workspace, query: str, campaign_ids: Sequence[int] | None, limit: int, threshold: float
    ) -> dict[int, float]:
        """Node number to how well its analysis fits a query; none where no analysis is shown, since a node that is
        found by one tells of it."""
        if not self.lessons:
            return {}
        found = await workspace.documents.find(
            query, "analysis", campaigns=campaign_ids, limit=limit, threshold=threshold
        )
        owner = await analyses.node_of(workspace.read, [hit.ref_id for hit in found.hits])
        relevance: dict[int, float] = {}
        for hit in found.hits:
            node = owner[hit.ref_id]
            relevance[node] = max(hit.score, relevance.get(node, hit.score))
        return relevance

    def shows_origin(self, origin: str) -> bool:
        """Whether items of an origin are shown."""
        return self.cognition and (self.lessons or origin != CognitionOrigin.LESSON)

    async def unanalysed(self, reader: Reader, campaign_id: int) -> list[int]:
        """Nodes that want an analysis; none where nobody would see it."""
        return await analyses.without_analysis(reader, campaign_id) if self.lessons else []

    async def lesson_lines(self, reader: Reader, lessons: Sequence[Lesson], limit: int) -> list[dict[str, Any]]:
        """Lessons in a list, each cut at `limit` characters and marked where it has become cognition."""
        marks = await self.promoted(reader, lessons)
        return [lesson_fields(lesson, limit) | marks.get(lesson.id, {}) for lesson in lessons]

    async def promoted(self, reader: Reader, lessons: Iterable[Lesson]) -> dict[int, dict[str, str]]:
        """Lesson number to the field that names the item that it became."""
        numbers = [lesson.id for lesson in lessons] if self.cognition else []
        items = await promotions.items_of(reader, numbers) if numbers else {}
        return {lesson: {"cognition": short_id("k", item)} for lesson, item in items.items()}
