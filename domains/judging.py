"""The rubric of a domain: the `[judge]` section of `domain.toml`, by which an agent or an endpoint marks candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, FiniteFloat, model_validator

from ..evolution import judging
from ..evolution.judging import JUDGES, Judge, Weighing
from .section import Name, Section


class Criterion(Section):
    """`[judge.criteria.NAME]`: one thing that gets a mark."""

    description: Annotated[str, Field(min_length=1, max_length=2000)]
    """What deserves a high mark and what a low one, said to the judge."""
    weight: Annotated[FiniteFloat, Field(gt=0, le=1e6)] = 1.0
    """Relative to the other criteria."""


class Rubric(Section):
    """`[judge]`: how candidates are marked, and how much the marks count.

    The score of a node is (1 - weight) * metric + weight * judge (arXiv 2603.29640), where judge is the weighted mean
    of the marks, moved from `scale` to `maps_to`.
    """

    weight: Annotated[FiniteFloat, Field(ge=0, le=1)]
    """0 is the metric alone, 1 the judge alone."""
    scale: tuple[Annotated[FiniteFloat, Field(ge=-1e6, le=1e6)], Annotated[FiniteFloat, Field(ge=-1e6, le=1e6)]] = (
        0.0,
        10.0,
    )
    """Lowest and highest mark."""
    maps_to: tuple[FiniteFloat, FiniteFloat] = (0.0, 1.0)
    """What the lowest and the highest mean of marks are worth, in units of the score."""
    judges: Annotated[tuple[Judge, ...], Field(min_length=1)] = JUDGES
    """Who may judge. Without `agent`, whoever writes the candidates cannot mark them."""
    instructions: Annotated[str, Field(max_length=8000)] = ""
    """Said to the judge before the criteria."""
    criteria: Annotated[dict[Name, Criterion], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _lower_is_worse(self) -> Self:
        for key, (lowest, highest) in (("scale", self.scale), ("maps_to", self.maps_to)):
            if lowest >= highest:
                raise ValueError(f"judge.{key}: expected the lower number first, but got [{lowest:g}, {highest:g}]")
        return self

    @property
    def weighing(self) -> Weighing:
        """How much the judge counts beside the metric."""
        return Weighing(self.weight, *self.maps_to)

    @property
    def span(self) -> float:
        """How far marks alone, from lowest to highest, can move a score."""
        return self.weight * (self.maps_to[1] - self.maps_to[0])

    def checked(self, marks: Mapping[str, object]) -> dict[str, float]:
        """Marks that fit the rubric.

        Raises:
            BadInput: they do not.
        """
        return judging.checked_marks(marks, self.criteria, self.scale)

    def quality(self, marks: Mapping[str, float]) -> float:
        """What checked marks come to, from 0 to 1."""
        weights = {name: criterion.weight for name, criterion in self.criteria.items()}
        return judging.quality(marks, weights, self.scale)
