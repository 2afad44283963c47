"""Which scores are not believed at once: the `[quarantine]` section of `domain.toml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from .section import Section


class QuarantineRule(Section):
    """`[quarantine]`: which scores are held until the candidate has run with other seeds."""

    enabled: bool = True
    deviations: Annotated[FiniteFloat, Field(gt=0)] = 8.0
    """A score more than so many robust standard deviations above the median of its peers is held."""
    population: Annotated[int, Field(ge=3)] = 10
    """Fewer scored nodes at the same stage than these are no population to compare with."""
    seeds: Annotated[int, Field(ge=1, le=64)] = 2
    """Other seeds that a held candidate runs with."""
    confirm: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.5
    """Share of an outlier's lead over the median that the mean of the repeats has to keep."""
