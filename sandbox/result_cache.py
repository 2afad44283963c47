"""Which earlier run gives the same result: a stage with `cache` is answered from it instead of being run.

The key is a hash over all that a supervisor is told (programs and data by their hashes, bounds, early-stop rules, what
the evaluator is told of the baseline, the hidden seed), the candidate's files, and the machine that would run it. What
differs from run to run and decides nothing is left out. A key that holds too much costs a run; one that holds too
little would cost a wrong number.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ..database import results
from ..database.results import KnownResult
from ..database.workspace import Workspace
from .gpus import models
from .jobs import JobFolder, JobSpec, write_atomically
from .supervisor import cpu_model

DECIDES_NOTHING = ("token", "groups", "gpus")
"""Of a `JobSpec`; which GPUs they are is told by their models."""


async def known_result(workspace: Workspace, folder: JobFolder, files: Mapping[str, str]) -> KnownResult | None:
    """An earlier run with the same result. Where there is none, or its files are gone, the job is marked, so that it
    can become one.

    Raises:
        OSError: the job's folder cannot be written.
    """
    key = result_key(folder, files)
    write_atomically(folder.result_key, key.encode())
    known = await results.known(workspace.read, key)
    if known is None or not all(workspace.artifacts.holds(file.sha256) for file in known.artifacts):
        return None
    return known


def result_key(folder: JobFolder, files: Mapping[str, str]) -> str:
    """What the result of a job hangs on, once its folder has been laid down."""
    spec = folder.read_spec()
    return key_of(spec, folder.params.read_text(encoding="utf-8"), files, machine(spec.gpus))


def machine(gpus: Sequence[int]) -> dict[str, str]:
    """What computes: processor, devices, and the system beneath."""
    return {"cpu": cpu_model(), "gpus": ", ".join(models(gpus)) if gpus else "", "platform": platform.platform()}


def key_of(spec: JobSpec, params: str, files: Mapping[str, str], computed_by: Mapping[str, str]) -> str:
    """The hash itself."""
    told = {name: value for name, value in asdict(spec).items() if name not in DECIDES_NOTHING}
    whole = {"job": told, "params": params, "files": dict(files), "machine": dict(computed_by)}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
