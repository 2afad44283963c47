"""Which scores are not believed at once: the `[quarantine]` section of `domain.toml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from ..evolution.quarantine import Alarm
from .fitness import Direction
from .section import Name, Section


class AlarmSpec(Section):
    """`[[quarantine.alarms]]`: a metric that is not believed where it is far better than any before."""

    metric: Name
    direction: Direction
    margin: Annotated[FiniteFloat, Field(gt=0)] = 0.1
    """Share of the best value so far, the baseline's included, by which a better one is held."""

    @property
    def alarm(self) -> Alarm:
        """As it is judged."""
        return Alarm(self.metric, self.direction == "maximize", self.margin)


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
    """Share of an outlier's lead over the median, or of the lead that rang an alarm, that the mean of the repeats has
    to keep."""
    alarms: tuple[AlarmSpec, ...] = ()
