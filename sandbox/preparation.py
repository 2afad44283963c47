"""Lays down the folder of a job: what a supervisor needs, copied, so that later changes to a domain do not reach it."""

from __future__ import annotations

import hmac
import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from packaging.requirements import Requirement

from ..domains.contract import OutputSpec, Shape
from ..domains.loader import PARTS, ROLES, Domain
from ..domains.section import Value
from ..domains.stages import Stage
from ..evolution.early_stop import StopRule
from .interpreter import Interpreter
from .isolation import Isolation
from .jobs import ArrayRule, ArtifactRule, CheckpointRule, JobFolder, JobSpec, Limits, OutputRule, write_atomically

EVALUATOR_WALL_FACTOR = 4.0
EVALUATOR_OUTPUT_MB = 4.0
CHANNEL = Path(__file__).with_name("channel.py")


class Comparison(NamedTuple):
    """What the programs of a job are told of the baseline."""

    is_baseline: bool = False
    """Whether the candidate is the program that the search starts from."""
    baseline: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    """For the evaluator alone: metric to `mean`, `sd` and `seeds` (their number) of what it came to at this stage, and
    `same_seed`, its value with the seed of this run, where it has run with that."""


NO_COMPARISON = Comparison()


@dataclass(frozen=True)
class Grant:
    """What the engineer gives to a job."""

    isolation: Isolation
    interpreter: Interpreter
    cpus: int
    gpus: tuple[int, ...]
    groups: Path | None = None
    """Where sandboxes get control groups of their own."""
    seed_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """What the seeds that no candidate may see are made from; one of its own where nothing has to be made again."""


def lay_down_job(
    folder: JobFolder,
    *,
    domain: Domain,
    instance: str | None,
    stage: Stage,
    seed: int,
    files: Mapping[str, str] | None,
    token: str,
    grant: Grant,
    comparison: Comparison = NO_COMPARISON,
    stop_rules: tuple[StopRule, ...] = (),
    provenance: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Make the folder of a job, over whatever an attempt that never started left there.

    Args:
        files: the candidate; `None` for a job that only judges what the caller lays into out/.
        provenance: what is known of where the score will come from, stored with it.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    shutil.rmtree(folder.path, ignore_errors=True)
    for part in (folder.path, folder.candidate, folder.out, folder.outputs, folder.result):
        part.mkdir(parents=True)
    for path, text in (files or {}).items():
        target = folder.candidate / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for role in ROLES:
        for name, source in domain.script_files(role).items():
            target = folder.path / role / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    if domain.spec.domain.shape == "serve":
        folder.channel.mkdir()
        shutil.copyfile(CHANNEL, folder.channel / CHANNEL.name)
    name, parameters = domain.parameters(instance)
    parameters = {**parameters, **stage.parameters}
    told = {
        "stage": stage.name,
        "seed": seed,
        "instance": name,
        "parameters": parameters,
        "entry": domain.spec.candidate.entry,
        "is_baseline": comparison.is_baseline,
    }
    folder.params.write_text(json.dumps(told, indent=1), encoding="utf-8")
    for path in folder.path.rglob("*"):  # whoever runs it is not root, and may not be the owner; who owns the workspace
        path.chmod(0o755 if path.is_dir() else 0o644)  # keeps others out of it
    spec = replace(
        _job_spec(domain, stage, parameters, token, grant),
        harness=domain.spec.scripts.harness if files is not None else None,
        hidden_seed=_hidden_seed(grant.seed_key, domain.name, name, stage.name, seed),
        baseline={metric: dict(statistic) for metric, statistic in comparison.baseline.items()},
        provenance=dict(provenance),
        stop_rules=stop_rules,
    )
    write_atomically(folder.spec, spec.to_json().encode())


def _hidden_seed(key: bytes, *of: str | int | None) -> int:
    """63 bits that are the same for every candidate, and that nobody can tell without the key: candidates know the
    seed of a run, and may know the program that makes the hidden data."""
    digest = hmac.digest(key, json.dumps(of).encode(), "sha256")
    return int.from_bytes(digest[:8], "big") >> 1


def _job_spec(domain: Domain, stage: Stage, parameters: Mapping[str, Value], token: str, grant: Grant) -> JobSpec:
    scripts, shape = domain.spec.scripts, domain.spec.domain.shape
    checkpoint = domain.spec.checkpoint
    data = {part: str(path) for part in PARTS if (path := domain.data_folder(part)) is not None}
    limits = _limits(stage)
    return JobSpec(
        token=token,
        isolation=grant.isolation.fields(),
        interpreter=grant.interpreter,
        threads=grant.cpus,
        gpus=grant.gpus,
        groups=str(grant.groups) if grant.groups is not None else None,
        shape=shape,
        harness=scripts.harness,
        predict=scripts.predict,
        stub=scripts.stub,
        generator=scripts.generator,
        evaluator=scripts.evaluator,
        public_data=data.get("public"),
        train_data=data.get("train"),
        inputs_data=data.get("inputs"),
        hidden_data=data.get("hidden"),
        limits=limits,
        second_limits=_second_limits(stage, shape, limits),
        evaluator_limits=replace(
            limits,
            cpu_seconds=stage.evaluator_cpu_seconds,
            wall_seconds=EVALUATOR_WALL_FACTOR * stage.evaluator_cpu_seconds + 60,
            memory_mb=stage.evaluator_memory_mb,
            output_mb=EVALUATOR_OUTPUT_MB,
        ),
        outputs=tuple(_output_rule(output, shape, parameters) for output in domain.spec.outputs.values()),
        artifacts=tuple(ArtifactRule(artifact.file, artifact.max_bytes) for artifact in domain.spec.artifacts),
        checkpoint=CheckpointRule(checkpoint.max_bytes, checkpoint.max_files) if shape == "fit_predict" else None,
        evaluator_sha256=domain.evaluator_sha256(),
    )


def _limits(stage: Stage) -> Limits:
    return Limits(
        cpu_seconds=stage.cpu_seconds,
        wall_seconds=stage.wall_bound,
        memory_mb=stage.memory_mb,
        disk_mb=stage.disk_mb,
        output_mb=stage.output_mb,
        pids=stage.pids,
        gpu_memory_mb=stage.gpu_memory_mb,
    )


def _second_limits(stage: Stage, shape: Shape, first: Limits) -> Limits | None:
    match shape:
        case "run":
            return None
        case "fit_predict":
            cpu, memory = stage.predict_cpu_seconds, stage.predict_memory_mb
        case "serve":
            cpu, memory = stage.candidate_cpu_seconds, stage.candidate_memory_mb
    return replace(first, cpu_seconds=cpu or first.cpu_seconds, memory_mb=memory or first.memory_mb)


def requirement_names(requirements: tuple[str, ...]) -> list[str]:
    """Distribution names out of pip requirement strings."""
    return [Requirement(text).name for text in requirements]


def _output_rule(output: OutputSpec, shape: Shape, parameters: Mapping[str, Value]) -> OutputRule:
    arrays = None
    if output.arrays is not None:
        arrays = {
            name: ArrayRule(
                array.dtype,
                tuple(int(parameters[length]) if isinstance(length, str) else length for length in array.shape),
            )
            for name, array in output.arrays.items()
        }
    by = output.by or ("predict" if shape == "fit_predict" else "harness")
    return OutputRule(output.file, output.max_bytes, output.required, arrays, by)
