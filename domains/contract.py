"""What a domain folder promises: the typed form of `domain.toml`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from ..evolution.early_stop import StopOutcome, StopRule, Test
from ..evolution.map_elites import DEFAULT_MEASURES, MAX_MEASURES, Measure
from ..evolution.models import Metrics
from ..evolution.progress import METRIC_NAME
from .judging import Rubric
from .section import Name
from .section import Section as _Section


def _plain_relative_path(value: str) -> str:
    path = PurePosixPath(value)
    if value != str(path) or path.is_absolute() or ".." in path.parts or value in ("", "."):
        raise ValueError(f"expected a plain relative path such as 'harness.py', but got {value!r}")
    return value


RelativePath = Annotated[str, AfterValidator(_plain_relative_path)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Shape = Literal["run", "fit_predict", "serve"]
Value = int | float | str | bool
Role = Literal["harness", "predict", "stub", "generator", "evaluator"]
Parameters = Mapping[str, Value]


class DomainInfo(_Section):
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


class CandidateForm(_Section):
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


class ArraySpec(_Section):
    """One array of an `.npz` output, checked byte for byte before the evaluator sees it."""

    dtype: Literal["float64", "float32", "int64", "int32", "uint8", "bool"]
    shape: tuple[int | str, ...]
    """Lengths; a string names a parameter of the instance."""
    allow_nonfinite: bool = False
    """Whether NaN and infinity have a meaning here. `asi-evolve check-domain` fails an evaluator that scores them
    anywhere else; at run time nothing depends on it."""


class OutputSpec(_Section):
    """`[outputs.NAME]`: a file that the harness leaves in its output folder."""

    file: RelativePath
    max_bytes: Annotated[int, Field(ge=1)]
    arrays: dict[Name, ArraySpec] | None = None
    """With it the file must be an `.npz` that holds exactly these arrays; without it any bytes will do."""
    required: bool = True
    by: Literal["harness", "predict"] | None = None
    """Shape `fit_predict`: which of the two programs leaves it; `None` is `predict`."""


class Checkpoint(_Section):
    """`[checkpoint]`: bounds on the files that the fit of a `fit_predict` may hand on to its predict."""

    max_bytes: Annotated[int, Field(ge=1)] = 100_000_000
    """Of all files together."""
    max_files: Annotated[int, Field(ge=1, le=1000)] = 32


class MetricSpec(_Section):
    """`[metrics.NAME]`: a number that the evaluator reports."""

    description: str
    unit: str = ""


class MeasureSpec(_Section):
    """`[measures.NAME]`: an axis of the MAP-Elites archive: a metric of the domain, `complexity` (length of the program
    in characters) or `diversity` (mean edit distance over lines to the campaign's first programs, 0 to 1)."""

    range: tuple[FiniteFloat, FiniteFloat] | None = None
    """What the bins divide; what lies outside counts to the bin at the edge. Without it the range grows as needed."""

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range: expected [low, high] with low below high, but got {list(self.range)}")
        return self


class Fitness(_Section):
    """`[fitness]`: how metrics become the one score, which is always maximised."""

    metric: Name
    direction: Literal["maximize", "minimize"] = "maximize"
    """With `minimize` the score is the negated metric."""
    proven_bound: FiniteFloat | Name | None = None
    """What the metric of no candidate can exceed (with `minimize`: stay below), in its units: a number, or the name of
    an instance parameter. A better one is held, and then refused."""

    def score(self, metrics: Metrics) -> float:
        """The score of a full set of metrics. Raises `KeyError` where the metric is missing."""
        value = metrics[self.metric]
        return value if self.direction == "maximize" else -value

    def score_bound(self, parameters: Parameters) -> float | None:
        """The highest score that any candidate can have, where that is proven."""
        bound = parameters[self.proven_bound] if isinstance(self.proven_bound, str) else self.proven_bound
        return self.score({self.metric: float(bound)}) if bound is not None else None


class QuarantineRule(_Section):
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


class Stage(_Section):
    """`[[stages]]`: a rung of the cascade. Bounds are those of harness and candidate together."""

    name: Name
    description: str = ""
    parameters: dict[Name, Value] = {}  # noqa: RUF012 -- pydantic copies it
    """Added to those of the instance, and taken instead of them where both have a name."""
    cpu_seconds: Positive
    """The budget: CPU time of the whole process tree."""
    wall_seconds: Positive | None = None
    """A generous outer bound; `None` is four times `cpu_seconds` plus 60."""
    memory_mb: Positive = 2048.0
    disk_mb: Positive = 512.0
    """Of the output folder and of /tmp, each."""
    output_mb: Positive = 32.0
    """Of stdout and stderr together."""
    pids: Annotated[int, Field(ge=1, le=4096)] = 64
    cpus: Annotated[int, Field(ge=1)] = 1
    """CPU slots that it holds while it runs."""
    gpus: Annotated[int, Field(ge=0)] = 0
    gpu_memory_mb: Positive | None = None
    """Of all its GPUs together; watched through NVML, which takes nvidia-ml-py."""
    seeds: Annotated[int, Field(ge=1, le=64)] = 1
    """Seeds it runs with when the caller names no number."""
    evaluator_cpu_seconds: Positive = 60.0
    evaluator_memory_mb: Positive = 2048.0
    """Both bound the generator as well, which is no less trusted."""
    predict_cpu_seconds: Positive | None = None
    predict_memory_mb: Positive | None = None
    """Shape `fit_predict`: bounds of the predict; `None` is what the fit has."""
    candidate_cpu_seconds: Positive | None = None
    candidate_memory_mb: Positive | None = None
    """Shape `serve`: bounds of the candidate's sandbox; `None` is what the trainer has."""
    when_scored: Literal["continue", "finish"] = "continue"
    """`finish`: a candidate that scores here has its final score, and the dearer stages are skipped."""
    when_out_of_time: Literal["fail", "continue"] = "fail"
    """`continue`: reaching the CPU or wall bound here sends the candidate on to the next stage."""
    min_score: FiniteFloat | None = None
    """A lower score ends the cascade here, as `rejected`."""
    on_request: bool = False
    """Runs only where an experiment names it, never on the way to another stage."""

    @property
    def wall_bound(self) -> float:
        """Seconds of wall time allowed."""
        return self.wall_seconds if self.wall_seconds is not None else 4 * self.cpu_seconds + 60


_STOP_KEYS: dict[Test, tuple[str, ...]] = {
    "nan": (),
    "above": ("value",),
    "below": ("value",),
    "above_baseline": ("at", "k", "min_sd"),
    "below_baseline": ("at", "k", "min_sd"),
    "above_start": ("by",),
    "below_start": ("by",),
}
"""What each early-stop rule needs; `at` is free where a value or the run's own start is the bound."""


class StopSpec(_Section):
    """`[[stop]]`: a condition on what a run tells in its progress file that ends it early."""

    rule: Test
    """`nan`: not finite. `above`, `below`: past `value`. `above_baseline`, `below_baseline`: past `k` standard
    deviations of what the campaign's baseline told when it was as far. `above_start`, `below_start`: by more than `by`
    from the run's own first value. Which way is bad depends on the metric: above for a loss, below for an accuracy."""
    metric: Annotated[str, Field(pattern=rf"^{METRIC_NAME.pattern}$")] | None = None
    """A name in the progress lines; `nan` without it means any."""
    at: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    """The share of the run at which it is judged, once; without it, at every line."""
    value: FiniteFloat | None = None
    k: Annotated[FiniteFloat, Field(ge=0)] | None = None
    min_sd: Positive | None = None
    """The least standard deviation, and the only one where the baseline ran with one seed."""
    by: Annotated[FiniteFloat, Field(ge=0)] | None = None
    outcome: StopOutcome = "reject"
    """`reject`: the experiment ends as `rejected`. `score`: what the run has left by then is evaluated."""
    stages: tuple[Name, ...] = ()
    """Where it holds; empty means everywhere."""

    @property
    def needs_baseline(self) -> bool:
        """Whether the bound comes from the campaign's baseline."""
        return self.rule in ("above_baseline", "below_baseline")

    def at_stage(self, stage: str) -> bool:
        """Whether it holds at that stage."""
        return not self.stages or stage in self.stages

    def resolved(self) -> StopRule:
        """As the supervisor judges it, still without what the baseline told."""
        return StopRule(self.rule, self.outcome, self.metric, self.at, self.value, self.k, self.by)

    @model_validator(mode="after")
    def _keys_fit_the_rule(self) -> Self:
        needed = _STOP_KEYS[self.rule]
        if self.metric is None and self.rule != "nan":
            raise ValueError(f"rule {self.rule!r}: expected `metric`, but there is none")
        for key in ("at", "value", "k", "min_sd", "by"):
            is_given = getattr(self, key) is not None
            if key in needed and not is_given:
                raise ValueError(f"rule {self.rule!r}: expected `{key}`, but there is none")
            is_free = key == "at" and self.rule != "nan"
            if is_given and key not in needed and not is_free:
                raise ValueError(f"rule {self.rule!r}: expected no `{key}`, but got {getattr(self, key)}")
        return self


class Artifact(_Section):
    """`[[artifacts]]`: a file that the evaluator may leave beside the metrics, kept with the node."""

    file: RelativePath
    description: str = ""
    mime_type: str = "application/octet-stream"
    max_bytes: Annotated[int, Field(ge=1, le=64_000_000)] = 1_000_000


class Scripts(_Section):
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


class DomainSpec(_Section):
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
