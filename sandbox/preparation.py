"""Lays down the folder of a job: what a supervisor needs, copied, so that later changes to a domain do not reach it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from packaging.requirements import Requirement

from ..domains.contract import OutputSpec, Stage
from ..domains.loader import Domain
from ..evolution.early_stop import StopRule
from .interpreter import Interpreter
from .isolation import Isolation
from .jobs import ArrayRule, ArtifactRule, JobFolder, JobSpec, Limits, OutputRule, write_atomically

EVALUATOR_WALL_FACTOR = 4.0
EVALUATOR_OUTPUT_MB = 4.0


@dataclass(frozen=True)
class Grant:
    """What the engineer gives to a job."""

    isolation: Isolation
    interpreter: Interpreter
    cpus: int
    gpus: tuple[int, ...]
    groups: Path | None = None
    """Where sandboxes get control groups of their own."""


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
    for part in (folder.path, folder.candidate, folder.harness, folder.evaluator, folder.out, folder.outputs):
        part.mkdir(parents=True)
    folder.result.mkdir()
    for path, text in (files or {}).items():
        target = folder.candidate / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for role, place in (("harness", folder.harness), ("evaluator", folder.evaluator)):
        for name, source in domain.script_files(role).items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place / name)
    name, parameters = domain.parameters(instance)
    told = {
        "stage": stage.name,
        "seed": seed,
        "instance": name,
        "parameters": parameters,
        "entry": domain.spec.candidate.entry,
    }
    folder.params.write_text(json.dumps(told, indent=1), encoding="utf-8")
    for path in folder.path.rglob("*"):  # whoever runs it is not root, and may not be the owner; who owns the workspace
        path.chmod(0o755 if path.is_dir() else 0o644)  # keeps others out of it
    harness = domain.spec.scripts.harness if files is not None else None
    spec = _job_spec(domain, stage, parameters, harness, token, grant)
    spec = replace(spec, provenance=dict(provenance), stop_rules=stop_rules)
    write_atomically(folder.spec, spec.to_json().encode())


def _job_spec(
    domain: Domain,
    stage: Stage,
    parameters: Mapping[str, int | float | str | bool],
    harness: str | None,
    token: str,
    grant: Grant,
) -> JobSpec:
    public, hidden = domain.data_folder("public"), domain.data_folder("hidden")
    return JobSpec(
        token=token,
        isolation=grant.isolation.fields(),
        interpreter=grant.interpreter,
        threads=grant.cpus,
        gpus=grant.gpus,
        groups=str(grant.groups) if grant.groups is not None else None,
        harness=harness,
        evaluator=domain.spec.scripts.evaluator,
        public_data=str(public) if public is not None else None,
        hidden_data=str(hidden) if hidden is not None else None,
        limits=Limits(
            cpu_seconds=stage.cpu_seconds,
            wall_seconds=stage.wall_bound,
            memory_mb=stage.memory_mb,
            disk_mb=stage.disk_mb,
            output_mb=stage.output_mb,
            pids=stage.pids,
        ),
        evaluator_limits=Limits(
            cpu_seconds=stage.evaluator_cpu_seconds,
            wall_seconds=EVALUATOR_WALL_FACTOR * stage.evaluator_cpu_seconds + 60,
            memory_mb=stage.evaluator_memory_mb,
            disk_mb=stage.disk_mb,
            output_mb=EVALUATOR_OUTPUT_MB,
            pids=stage.pids,
        ),
        outputs=tuple(_output_rule(output, parameters) for output in domain.spec.outputs.values()),
        artifacts=tuple(ArtifactRule(artifact.file, artifact.max_bytes) for artifact in domain.spec.artifacts),
        evaluator_sha256=domain.evaluator_sha256(),
    )


def requirement_names(requirements: tuple[str, ...]) -> list[str]:
    """Distribution names out of pip requirement strings."""
    return [Requirement(text).name for text in requirements]


def _output_rule(output: OutputSpec, parameters: Mapping[str, int | float | str | bool]) -> OutputRule:
    arrays = None
    if output.arrays is not None:
        arrays = {
            name: ArrayRule(
                array.dtype,
                tuple(int(parameters[length]) if isinstance(length, str) else length for length in array.shape),
            )
            for name, array in output.arrays.items()
        }
    return OutputRule(output.file, output.max_bytes, output.required, arrays)
