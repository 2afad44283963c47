"""Makes cognition of lessons: what one node taught becomes knowledge for a domain."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..database import analyses, cognition, promotions
from ..database.connection import Transaction
from ..evolution.ids import short_id
from ..evolution.models import CognitionOrigin, Lesson
from ..evolution.text import excerpt

TITLE_LIMIT = 200
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s")


async def promote(tx: Transaction, lesson_ids: Sequence[int], domain: str | None) -> list[tuple[int, bool]]:
    """(number of the item, whether it is new) of each lesson; one that became an item before stays that item.

    Args:
        domain: that the items are for; `None` is every domain.

    Raises:
        NotFound: one of the lessons does not exist.
    """
    known = await promotions.items_of(tx, lesson_ids)
    promoted: dict[int, tuple[int, bool]] = {lesson: (item, False) for lesson, item in known.items()}
    for lesson in await analyses.lessons(tx, lesson_ids):
        if lesson.id not in promoted:
            promoted[lesson.id] = await cognition.add(tx, _item(lesson, domain))
            await promotions.add(tx, lesson.id, promoted[lesson.id][0])
    return [promoted[number] for number in dict.fromkeys(lesson_ids)]


def _item(lesson: Lesson, domain: str | None) -> cognition.NewItem:
    node, campaign = short_id("n", lesson.node_id), short_id("c", lesson.campaign_id)
    return cognition.NewItem(
        domain=domain,
        title=title_of(lesson.text),
        body=lesson.text,
        symptom="",
        source=f"lesson {short_id('l', lesson.id)} of {node}, campaign {campaign}",
        tags=lesson.tags,
        origin=CognitionOrigin.LESSON,
    )


def title_of(text: str) -> str:
    """The first sentence of a text, on one line."""
    return excerpt(_END_OF_SENTENCE.split(" ".join(text.split()), maxsplit=1)[0], TITLE_LIMIT)
