"""The islands of a stored archive as a sampling policy sees them (`evolution.sampling.Island`)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ...evolution.sampling import Member
from ..connection import Reader, Row


class Cut(NamedTuple):
    """The last of the best few nodes of a campaign: nodes behind it are not drawn."""

    score: float
    node_id: int


Where = tuple[str, list[float | int]]


class StoredIsland:
    """One island of a campaign."""

    def __init__(self, reader: Reader, campaign_id: int, number: int, cut: Callable[[], Awaitable[Cut | None]]) -> None:
        self.nodes = Ranked(reader, "islanders", campaign_id, number, cut)
        self.elites = Ranked(reader, "cells", campaign_id, number, cut)


class Ranked:
    """The rows of an island in `islanders` or `cells`, by score (`evolution.sampling.Pool`)."""

    def __init__(
        self, reader: Reader, table: str, campaign_id: int, island: int, cut: Callable[[], Awaitable[Cut | None]]
    ) -> None:
        self._reader = reader
        self._table = table
        self._campaign_id = campaign_id
        self._island = island
        self._cut = cut

    async def best(self, count: int) -> list[Member]:
        """Highest score first, the older one first among equals."""
        where, values = await self._where()
        return await self._members(f"{where} ORDER BY r.score DESC, r.node_id LIMIT ?", [*values, count])

    async def some(self, count: int, rng: random.Random) -> list[Member]:
        """At least one, at most `count`, each drawn with the same chance, with replacement. Not to be asked of an
        empty island."""
        if self._table == "islanders" and await self._cut() is None:
            return await self._by_place(count, rng)
        where, values = await self._where()
        size = await self._reader.value(f"SELECT count(*) FROM {self._table} AS r WHERE {where}", values)
        rank = rng.randrange(size)
        return await self._members(f"{where} ORDER BY r.score DESC, r.node_id LIMIT 1 OFFSET ?", [*values, rank])

    async def _by_place(self, count: int, rng: random.Random) -> list[Member]:
        """Places on an island have no gap, though some of those who hold one have no score."""
        last = await self._reader.value(
            "SELECT max(place) FROM islanders WHERE campaign_id = ? AND island = ?", (self._campaign_id, self._island)
        )
        while True:
            places = [rng.randint(1, last) for _ in range(count)]
            marks = ", ".join("?" * count)
            rows = await self._reader.all(
                "SELECT r.place, r.node_id, r.score, n.visits FROM islanders AS r INDEXED BY islanders_by_place"
                " JOIN nodes AS n ON n.id = r.node_id"
                f" WHERE r.campaign_id = ? AND r.island = ? AND r.place IN ({marks}) AND r.score IS NOT NULL",
                (self._campaign_id, self._island, *places),
            )
            found = {row["place"]: _member(row) for row in rows}
            if found:
                return [found[place] for place in places if place in found]

    async def _where(self) -> Where:
        where, values = "r.campaign_id = ? AND r.island = ? AND r.score IS NOT NULL", [self._campaign_id, self._island]
        cut = await self._cut()
        if cut is None:
            return where, [*values]
        before = " AND (r.score > ? OR r.score = ? AND r.node_id <= ?)"
        return f"{where} AND r.score >= ?{before}", [*values, cut.score, cut.score, cut.score, cut.node_id]

    async def _members(self, rest: str, values: list[float | int]) -> list[Member]:
        rows = await self._reader.all(
            f"SELECT r.node_id, r.score, n.visits FROM {self._table} AS r JOIN nodes AS n ON n.id = r.node_id"
            f" WHERE {rest}",
            values,
        )
        return [_member(row) for row in rows]


def _member(row: Row) -> Member:
    return Member(row["node_id"], row["score"], row["visits"])
