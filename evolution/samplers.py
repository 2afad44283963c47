"""The samplers that come with this package, by name."""

from __future__ import annotations

from collections.abc import Callable

from .errors import BadInput
from .map_elites import MapElites
from .models import SamplingOptions
from .sampling import UCB1, Greedy, Random, Sampler

MAP_ELITES = "map_elites"
"""The one that needs the campaign to keep an archive."""
ROUNDING = 1e-9
SAMPLERS: dict[str, Callable[[SamplingOptions], Sampler]] = {
    "ucb1": lambda options: UCB1(options.exploration_weight),
    "greedy": lambda _: Greedy(),
    "random": lambda _: Random(),
    MAP_ELITES: lambda options: MapElites(options.exploration, options.exploitation),
}


def make_sampler(name: str, options: SamplingOptions | None = None) -> Sampler:
    """The policy of that name.

    Raises:
        BadInput: none that comes with this package is called so, or its options contradict each other.
    """
    if name not in SAMPLERS:
        raise BadInput(f"Expected sampler to be one of {', '.join(SAMPLERS)}, but got {name!r}.")
    options = options or SamplingOptions()
    if name == MAP_ELITES and options.exploration + options.exploitation > 1 + ROUNDING:
        raise BadInput(
            "Expected exploration and exploitation to be at most 1 together, since they are shares of the draws, but "
            f"got {options.exploration:g} + {options.exploitation:g}. Lower one of them."
        )
    return SAMPLERS[name](options)
