"""What a domain folder promises: the typed form of `domain.toml`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from ..evolution.map_elites import DEFAULT_MEASURES, MAX_MEASURES, Measure
from .fitness import Fitness, check_references
from .judging import Rubric
from .quarantine import QuarantineRule
from .section import Name, Section, Value
from .stages import Stage
from .stops import StopSpec


def _plain_relative_path(value: str) -> str:
    path = PurePosixPath(value)
    if value != str(path) or path.is_absolute() or ".." in path.parts or value in ("", "."):
        raise ValueError(f"expected a plain relative path such as 'harness.py', but got {value!r}")
    return value


RelativePath = Annotated[str, AfterValidator(_plain_relative_path)]
Shape = Literal["run", "fit_predict", "serve"]
Role = Literal["harness", "predict", "stub", "generator", "evaluator"]


class DomainInfo(Section):
    """`[domain]`: what the problem is called and what it needs."""

    name: Name
    version: str
    """Raised whenever a score of the old version cannot be compared with one of the new."""
    title: str
    summary: str
    """Two or three sentences for a list."""
    shape: Shape = "run"
    """`run`: harness and candidate run together and leave their outputs on disk. `fit_predict`: the harness fits with
    the candidate, and a fresh process predicts on inputs without labels. `serve`: the harness is a trainer in a sandbox
    of its own and calls the candidate, in another, over a pipe."""
    requirements: tuple[str, ...] = ()
    """Packages that harness, candidate or evaluator import, as pip requirement strings."""


class CandidateForm(Section):
    """`[candidate]`: what a candidate is made of, and what is refused before anything runs."""

    entry: RelativePath
    """The file that a one-file candidate fills."""
    max_files: Annotated[int, Field(ge=1, le=500)] = 1
    max_bytes: Annotated[int, Field(ge=1, le=20_000_000)] = 200_000
    """Of all files together."""
    must_define: tuple[str, ...] = ()
    """Functions or classes that the entry file must define at its top level."""
    forbidden_imports: tuple[str, ...] = ()
    """Modules that no file may import by an import statement. A courtesy to the agent, not the defence: that is
    the sandbox's part."""


class ArraySpec(Section):
    """One array of an `.npz` output, checked byte for byte before the evaluator sees it."""

    dtype: Literal["float64", "float32", "int64", "int32", "uint8", "bool"]
    shape: tuple[int | str, ...]
    """Lengths; a string names a parameter of the instance."""
    allow_nonfinite: bool = False
    """Whether NaN and infinity have a meaning here. `asi-evolve check-domain` fails an evaluator that scores them
    anywhere else; at run time nothing depends on it."""


class OutputSpec(Section):
    """`[outputs.NAME]`: a file that the harness leaves in its output folder."""

    file: RelativePath
    max_bytes: Annotated[int, Field(ge=1)]
    arrays: dict[Name, ArraySpec] | None = None
    """With it the file must be an `.npz` that holds exactly these arrays; without it any bytes will do."""
    required: bool = True
    by: Literal["harness", "predict"] | None = None
    """Shape `fit_predict`: which of the two programs leaves it; `None` is `predict`."""


class Checkpoint(Section):
    """`[checkpoint]`: bounds on the files that the fit of a `fit_predict` may hand on to its predict."""

    max_bytes: Annotated[int, Field(ge=1)] = 100_000_000
    """Of all files together."""
    max_files: Annotated[int, Field(ge=1, le=1000)] = 32


class MetricSpec(Section):
    """`[metrics.NAME]`: a number that the evaluator reports."""

    description: str
    unit: str = ""


class MeasureSpec(Section):
    """`[measures.NAME]`: an axis of the MAP-Elites archive: a metric of the domain, `complexity` (length of the program
    in characters) or `diversity` (mean edit distance over lines to the campaign's first programs, 0 to 1)."""

    range: tuple[FiniteFloat, FiniteFloat] | None = None
    """What the bins divide; what lies outside counts to the bin at the edge. Without it the range grows as needed."""

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range: expected [low, high] with low below high, but got {list(self.range)}")
        return self


class Artifact(Section):
    """`[[artifacts]]`: a file that the evaluator may leave beside the metrics, kept with the node."""

    file: RelativePath
    description: str = ""
    mime_type: str = "application/octet-stream"
    max_bytes: Annotated[int, Field(ge=1, le=64_000_000)] = 1_000_000


class Scripts(Section):
    """`[scripts]`: the programs of a domain, each with the neighbours that it imports."""

    harness: RelativePath = "harness.py"
    """Makes the outputs. Shape `run`: beside the candidate. `fit_predict`: the fit. `serve`: the trainer."""
    harness_files: tuple[RelativePath, ...] = ()
    """Further files that are laid beside the harness; a folder stands for all files in it. So with those below."""
    predict: RelativePath | None = None
    """Shape `fit_predict`: loads what the fit left and predicts, in a fresh process."""
    predict_files: tuple[RelativePath, ...] = ()
    stub: RelativePath | None = None
    """Shape `serve`: answers calls beside the candidate; `None` is one that calls the candidate's functions."""
    stub_files: tuple[RelativePath, ...] = ()
    generator: RelativePath | None = None
    """Makes training data, inputs and labels from a seed that no candidate sees, before anything else runs."""
    generator_files: tuple[RelativePath, ...] = ()
    evaluator: RelativePath = "evaluator.py"
    evaluator_files: tuple[RelativePath, ...] = ()

    def files(self, role: Role) -> tuple[str, ...]:
        """A program and its neighbours, the program first; nothing where the domain has none in this role."""
        match role:
            case "harness":
                return (self.harness, *self.harness_files)
            case "predict":
                return (self.predict, *self.predict_files) if self.predict is not None else ()
            case "stub":
                return (self.stub, *self.stub_files) if self.stub is not None else ()
            case "generator":
                return (self.generator, *self.generator_files) if self.generator is not None else ()
            case "evaluator":
                return (self.evaluator, *self.evaluator_files)


class DomainSpec(Section):
    """A whole `domain.toml`."""

    domain: DomainInfo
    candidate: CandidateForm
    scripts: Scripts = Scripts()
    instances: dict[Name, dict[Name, Value]] = {}  # noqa: RUF012
    """Named sets of parameters; the first is the default."""
    outputs: dict[Name, OutputSpec]
    checkpoint: Checkpoint = Checkpoint()
    metrics: dict[Name, MetricSpec]
    measures: Annotated[dict[Name, MeasureSpec], Field(max_length=MAX_MEASURES)] = {}  # noqa: RUF012
    """Axes of the MAP-Elites archive; none means complexity and diversity."""
    fitness: Fitness
    quarantine: QuarantineRule = QuarantineRule()
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    default_stage: Name
    """The stage that `run_experiment` aims at when the caller names none."""
    artifacts: tuple[Artifact, ...] = ()
    stop: tuple[StopSpec, ...] = ()
    judge: Rubric | None = None
    """Where a domain has one, the score of a node is that of its metric and that of its judges together."""

    @model_validator(mode="after")
    def _stop_rules_name_stages(self) -> Self:
        names = [stage.name for stage in self.stages]
        for place, rule in enumerate(self.stop):
            if unknown := [name for name in rule.stages if name not in names]:
                raise ValueError(f"stop.{place}.stages: expected stages out of {names}, but got {unknown[0]!r}")
        return self

    def archive_measures(self) -> tuple[Measure, ...]:
        """What MAP-Elites sorts candidates by. A metric that is called as a built-in measure is meant before it."""
        measures: list[Measure] = []
        for name, spec in self.measures.items():
            low, high = spec.range or (None, None)
            if name not in self.metrics and name in ("complexity", "diversity"):
                measures.append(Measure(name, name, low, high))
            else:
                measures.append(Measure(name, "metric", low, high))
        return tuple(measures) or DEFAULT_MEASURES

    @model_validator(mode="after")
    def _measures_are_known(self) -> Self:
        for name in self.measures:
            known = [*self.metrics, "complexity", "diversity"]
            if name not in known:
                raise ValueError(f"measures.{name}: expected one of {list(dict.fromkeys(known))}, but got {name!r}")
        return self

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: expected distinct names, but got {names}")
        if self.default_stage not in names:
            raise ValueError(f"default_stage: expected one of {names}, but got {self.default_stage!r}")
        if self.fitness.metric not in self.metrics:
            raise ValueError(f"fitness.metric: expected one of {list(self.metrics)}, but got {self.fitness.metric!r}")
        for place, alarm in enumerate(self.quarantine.alarms):
            if alarm.metric not in self.metrics:
                key = f"quarantine.alarms.{place}.metric"
                raise ValueError(f"{key}: expected one of {list(self.metrics)}, but got {alarm.metric!r}")
        check_references(self.fitness, self.stages, list(self.metrics))
        kept = [*(output.file for output in self.outputs.values()), *(artifact.file for artifact in self.artifacts)]
        if len(set(kept)) != len(kept):
            raise ValueError(f"outputs and artifacts: expected distinct files, but got {sorted(kept)}")
        return self

    @model_validator(mode="after")
    def _lengths_are_known(self) -> Self:
        for output_name, output in self.outputs.items():
            for array_name, array in (output.arrays or {}).items():
                key = f"outputs.{output_name}.arrays.{array_name}.shape"
                for length in array.shape:
                    if isinstance(length, str):
                        self._check_length(key, length)
        return self

    def _check_length(self, key: str, length: str) -> None:
        """A named length has to be an integer parameter wherever the output is made."""
        if not self.instances and not any(stage.parameters for stage in self.stages):
            raise ValueError(f"{key}: expected {length!r} to be a parameter of an instance, but there is none")
        for stage in self.stages:
            for instance, parameters in (self.instances or {"": {}}).items():
                known = {**parameters, **stage.parameters}
                if type(known.get(length)) is not int:
                    where = f"of instance {instance!r}" if instance else f"of stage {stage.name!r}"
                    raise ValueError(
                        f"{key}: expected {length!r} to be an integer parameter {where}, which has {sorted(known)}"
                    )

    @model_validator(mode="after")
    def _shape_and_keys_agree(self) -> Self:
        shape = self.domain.shape
        if shape == "fit_predict" and self.scripts.predict is None:
            raise ValueError("scripts.predict: expected the program that predicts in shape 'fit_predict', but got none")
        for key, belongs_to in self._keys_of_shapes():
            if shape != belongs_to:
                raise ValueError(f"{key}: expected only in shape {belongs_to!r}, but domain.shape is {shape!r}")
        for role in ("predict", "stub", "generator"):
            if not self.scripts.files(role) and f"{role}_files" in self.scripts.model_fields_set:
                raise ValueError(f"scripts.{role}_files: expected scripts.{role} beside it, but there is none")
        return self

    def _keys_of_shapes(self) -> Iterator[tuple[str, Shape]]:
        """Keys that are given here and mean something in one shape alone, and that shape."""
        shapes: dict[str, Shape] = {"predict": "fit_predict", "stub": "serve"}
        for role, shape in shapes.items():
            if role in self.scripts.model_fields_set:
                yield f"scripts.{role}", shape
        if "checkpoint" in self.model_fields_set:
            yield "checkpoint", "fit_predict"
        for name, output in self.outputs.items():
            if output.by is not None:
                yield f"outputs.{name}.by", "fit_predict"
        bounds: dict[str, Shape] = {"predict": "fit_predict", "candidate": "serve"}
        for stage in self.stages:
            for prefix, shape in bounds.items():
                for key in (f"{prefix}_cpu_seconds", f"{prefix}_memory_mb"):
                    if key in stage.model_fields_set:
                        yield f"stages.{stage.name}.{key}", shape

    @model_validator(mode="after")
    def _bound_is_known(self) -> Self:
        name = self.fitness.proven_bound
        if not isinstance(name, str):
            return self
        if not self.instances:
            raise ValueError(f"fitness.proven_bound: expected {name!r} to be a parameter, but there is no instance")
        for instance, parameters in self.instances.items():
            value = parameters.get(name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(
                    f"fitness.proven_bound: expected {name!r} to be a finite number in instance {instance!r}, which "
                    f"has {sorted(parameters)}"
                )
        return self

    def stage(self, name: str) -> Stage | None:
        """The stage of that name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def cascade(self, target: str) -> tuple[Stage, ...]:
        """The stages an experiment walks to reach `target`, `target` last."""
        way: list[Stage] = []
        for stage in self.stages:
            if stage.name == target:
                return (*way, stage)
            if not stage.on_request:
                way.append(stage)
        raise KeyError(target)
