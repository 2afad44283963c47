"""The scored nodes of a campaign as sampling policies see them (`evolution.sampling.Population`).

Every question is answered along an index over (campaign, ordinal), (campaign, visits, score) or (campaign, score); the
code of the candidates is never touched. Under `top(n)` they walk n entries of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Self

from ..evolution.sampling import Island, Member
from . import draws
from .connection import Reader, Row
from .map_elites.islands import Cut, StoredIsland

DRAW_TIMEOUT_S = 3600.0


class ScoredNodes:
    """All of them, or the best few.

    Args:
        draw_timeout_s: for how long a node that was handed out and led to no candidate counts as being worked on.
        islands: how many the campaign's archive has; 0 where it keeps none.
        limit: see `top`.
    """

    def __init__(
        self,
        reader: Reader,
        campaign_id: int,
        *,
        draw_timeout_s: float = DRAW_TIMEOUT_S,
        islands: int = 0,
        limit: int | None = None,
    ) -> None:
        self._reader = reader
        self._campaign_id = campaign_id
        self._draw_timeout_s = draw_timeout_s
        self._islands = islands
        self._limit = limit

    def top(self, count: int | None) -> Self:
        """The same, without the nodes beyond so many best ones; `None` takes nothing away."""
        limits = [limit for limit in (count, self._limit) if limit is not None]
        return type(self)(
            self._reader,
            self._campaign_id,
            draw_timeout_s=self._draw_timeout_s,
            islands=self._islands,
            limit=min(limits, default=None),
        )

    def islands(self) -> Sequence[Island]:
        """Those of its archive; none where the campaign keeps no archive."""
        return [StoredIsland(self._reader, self._campaign_id, number, self.cut) for number in range(self._islands)]

    async def cut(self) -> Cut | None:
        """The last node that may be drawn; `None` where all may."""
        if self._limit is None:
            return None
        last = await self._members("ORDER BY score DESC, id LIMIT 1 OFFSET ?", [self._limit - 1])
        return Cut(last[0].score, last[0].id) if last else None

    async def score_range(self) -> tuple[float, float] | None:
        """Lowest and highest score; `None` where there is no scored node."""
        row = await self._reader.one(
            "SELECT (SELECT min(score) FROM nodes WHERE campaign_id = ?1 AND score IS NOT NULL) AS lowest,"
            " (SELECT max(score) FROM nodes WHERE campaign_id = ?1 AND score IS NOT NULL) AS highest",
            (self._campaign_id,),
        )
        if row is None or row["lowest"] is None:
            return None
        cut = await self.cut()
        return (cut.score if cut is not None else row["lowest"], row["highest"])

    async def total_visits(self) -> int:
        """How many parents the campaign has handed out."""
        return int(await self._reader.value("SELECT samples_drawn FROM campaigns WHERE id = ?", (self._campaign_id,)))

    async def in_flight(self) -> Mapping[int, int]:
        """Node to how many are working on it now."""
        return await draws.in_flight(self._reader, self._campaign_id, time.time() - self._draw_timeout_s)

    async def best(self, count: int) -> list[Member]:
        """Highest score first, the older one first among equals."""
        return await self._members("ORDER BY score DESC, id LIMIT ?", [min(count, self._limit or count)])

    async def best_per_visit_count(self, count: int) -> list[Member]:
        """The best few nodes of each number of visits: one step along the index for each number that occurs."""
        rows = await self._reader.all(
            "WITH RECURSIVE occurring (visits) AS ("
            " SELECT min(visits) FROM nodes WHERE campaign_id = ?1 AND score IS NOT NULL"
            " UNION ALL SELECT (SELECT min(visits) FROM nodes WHERE campaign_id = ?1 AND score IS NOT NULL"
            "  AND visits > occurring.visits) FROM occurring WHERE occurring.visits IS NOT NULL)"
            " SELECT n.id, n.score, n.visits FROM occurring JOIN nodes AS n ON n.id IN (SELECT id FROM nodes AS m"
            "  WHERE m.campaign_id = ?1 AND m.visits = occurring.visits AND m.score IS NOT NULL"
            "  ORDER BY m.score DESC, m.id LIMIT ?2)",
            (self._campaign_id, count),
        )
        cut = await self.cut()
        members = [_member(row) for row in rows]
        # Of each number of visits the nodes before the cut come first, so none that could be chosen is missing.
        return [member for member in members if cut is None or (-member.score, member.id) <= (-cut.score, cut.node_id)]

    async def some(self, count: int, rng: random.Random) -> list[Member]:
        """At least one, at most `count`, each drawn with the same chance, with replacement. Not to be asked of an
        empty population."""
        if self._limit is not None:
            ranked = await self._members("ORDER BY score DESC, id LIMIT ?", [self._limit])
            return rng.choices(ranked, k=count)
        newest = await self._reader.value(
            "SELECT ordinal FROM nodes WHERE campaign_id = ? ORDER BY id DESC LIMIT 1", (self._campaign_id,)
        )
        while True:
            ordinals = [rng.randint(1, newest) for _ in range(count)]
            marks = ", ".join("?" * count)
            rows = await self._reader.all(
                "SELECT ordinal, id, score, visits FROM nodes INDEXED BY nodes_by_ordinal"
                " WHERE campaign_id = ? AND score IS NOT NULL"
                f" AND ordinal IN ({marks})",
                (self._campaign_id, *ordinals),
            )
            found = {row["ordinal"]: _member(row) for row in rows}
            if found:  # those that failed have an ordinal too
                return [found[ordinal] for ordinal in ordinals if ordinal in found]

    async def _members(self, rest: str, parameters: list[int]) -> list[Member]:
        rows = await self._reader.all(
            f"SELECT id, score, visits FROM nodes WHERE campaign_id = ? AND score IS NOT NULL {rest}",
            [self._campaign_id, *parameters],
        )
        return [_member(row) for row in rows]


def _member(row: Row) -> Member:
    return Member(row["id"], row["score"], row["visits"])
