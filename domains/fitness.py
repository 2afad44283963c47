"""How metrics become the score: the `[fitness]` section of `domain.toml`, absolute or relative to the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from ..evolution.models import Metrics
from ..evolution.relative import Form, Penalty, Term, Yardstick
from .section import Name, Parameters, Positive, Section
from .stages import Stage

Direction = Literal["maximize", "minimize"]


class TermSpec(Section):
    """`[fitness.relative.terms.METRIC]`: how much better a metric is than the baseline's."""

    direction: Direction
    weight: Positive = 1.0
    """Relative to the other terms."""
    min_sd: Positive | None = None
    """The least standard deviation, in the units of the metric: what counts as noise where the baseline's few seeds
    happen to agree, and the only one where it ran with one seed. Needed by the form `sigmoid`, refused by `gain`."""
    scale: Positive = 2.0
    """A gain of so many deviations is worth sigmoid(1) = 0.73; refused by the form `gain`."""
    stages: tuple[Name, ...] = ()
    """Where it counts; empty means at every relative stage."""


class PenaltySpec(Section):
    """`[fitness.relative.penalties.METRIC]`: what is taken off where a metric is too large, say a ratio of costs."""

    above: Positive
    """Free up to here; each doubling beyond costs `weight`."""
    weight: Positive
    stages: tuple[Name, ...] = ()
    """Where it counts; empty means at every relative stage."""


class RelativeFitness(Section):
    """`[fitness.relative]`: a score relative to what the baseline's seeds came to in the same campaign."""

    form: Form = "sigmoid"
    """`sigmoid`: gains in deviations of the baseline's seeds, which has 0.5. `gain`: gains in units of the metrics; the
    baseline has 0."""
    paired: bool = False
    """A run is compared with the baseline's run of the same seed where there is one, else with the mean."""
    terms: Annotated[dict[Name, TermSpec], Field(min_length=1)]
    penalties: dict[Name, PenaltySpec] = {}  # noqa: RUF012 -- pydantic copies it

    @model_validator(mode="after")
    def _keys_fit_the_form(self) -> Self:
        for name, term in self.terms.items():
            if self.form == "sigmoid" and term.min_sd is None:
                raise ValueError(f"terms.{name}.min_sd: expected one with form = 'sigmoid', but there is none")
            given = [key for key in ("min_sd", "scale") if key in term.model_fields_set]
            if self.form == "gain" and given:
                raise ValueError(
                    f"terms.{name}.{given[0]}: expected none with form = 'gain', which counts in units of the metric"
                )
        return self

    @property
    def baseline_scores(self) -> float:
        """What the baseline's mean is worth."""
        return 0.5 if self.form == "sigmoid" else 0.0

    def yardstick(self, stage: str) -> Yardstick:
        """As the score of a stage is computed."""
        return Yardstick(
            terms=tuple(
                Term(metric, spec.direction == "maximize", spec.weight, spec.min_sd or 0.0, spec.scale)
                for metric, spec in self.terms.items()
                if not spec.stages or stage in spec.stages
            ),
            penalties=tuple(
                Penalty(metric, spec.above, spec.weight)
                for metric, spec in self.penalties.items()
                if not spec.stages or stage in spec.stages
            ),
            paired=self.paired,
            form=self.form,
        )

    @property
    def metrics(self) -> list[str]:
        """Every metric that it reads anywhere."""
        return list({**self.terms, **self.penalties})


class Fitness(Section):
    """`[fitness]`: how metrics become the one score, which is always maximised."""

    metric: Name
    direction: Direction = "maximize"
    """With `minimize` the score is the negated metric."""
    proven_bound: FiniteFloat | Name | None = None
    """What the metric of no candidate can exceed (with `minimize`: stay below), in its units: a number, or the name of
    an instance parameter. A better one is held, and then refused."""

    relative: RelativeFitness | None = None
    """Where it is given, `metric` is computed from others at the stages that have `baseline_seeds`, and reported by the
    evaluator at the rest."""

    @model_validator(mode="after")
    def _relative_is_maximised(self) -> Self:
        if self.relative is None:
            return self
        if self.direction != "maximize":
            raise ValueError("direction: expected 'maximize' beside [fitness.relative], whose terms have their own")
        if self.metric in self.relative.metrics:
            raise ValueError(f"relative: expected other metrics than {self.metric!r}, which is made of them")
        return self

    def score(self, metrics: Metrics) -> float:
        """The score of a full set of metrics. Raises `KeyError` where the metric is missing."""
        value = metrics[self.metric]
        return value if self.direction == "maximize" else -value

    def score_bound(self, parameters: Parameters) -> float | None:
        """The highest score that any candidate can have, where that is proven."""
        bound = parameters[self.proven_bound] if isinstance(self.proven_bound, str) else self.proven_bound
        return self.score({self.metric: float(bound)}) if bound is not None else None


def check_references(fitness: Fitness, stages: Sequence[Stage], metrics: Sequence[str]) -> None:
    """Whether relative fitness, stages and metrics name one another rightly.

    Raises:
        ValueError: they do not.
    """
    relative_stages = [stage.name for stage in stages if stage.baseline_seeds]
    relative = fitness.relative
    if relative is None:
        if relative_stages:
            raise ValueError(
                f"stages.{relative_stages[0]}.baseline_seeds: expected [fitness.relative] beside it, but there is none"
            )
        return
    if not relative_stages:
        raise ValueError("fitness.relative: expected a stage with `baseline_seeds`, but there is none")
    for kind, specs in (("terms", relative.terms), ("penalties", relative.penalties)):
        for name, spec in specs.items():
            if name not in metrics:
                raise ValueError(f"fitness.relative.{kind}.{name}: expected one of {list(metrics)}, but got {name!r}")
            if unknown := [stage for stage in spec.stages if stage not in relative_stages]:
                raise ValueError(
                    f"fitness.relative.{kind}.{name}.stages: expected stages with `baseline_seeds`, out of "
                    f"{relative_stages}, but got {unknown[0]!r}"
                )
    for stage in relative_stages:
        if not relative.yardstick(stage).terms:
            raise ValueError(f"fitness.relative.terms: expected one that counts at stage {stage!r}, but there is none")
