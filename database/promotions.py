"""Lessons that became cognition: which lesson is which item."""

from __future__ import annotations

from collections.abc import Sequence

from .connection import Reader, Transaction


async def add(tx: Transaction, lesson_id: int, cognition_id: int) -> None:
    """Note that a lesson is a cognition item from now on. Once only: the caller has looked before."""
    await tx.execute("INSERT INTO promotions (lesson_id, cognition_id) VALUES (?, ?)", (lesson_id, cognition_id))


async def items_of(reader: Reader, lesson_ids: Sequence[int]) -> dict[int, int]:
    """Lesson number to the number of the item that it became; others are left out."""
    marks = ", ".join("?" * len(lesson_ids))
    rows = await reader.all(
        f"SELECT lesson_id, cognition_id FROM promotions WHERE lesson_id IN ({marks})", list(lesson_ids)
    )
    return {row["lesson_id"]: row["cognition_id"] for row in rows}
