"""Results of runs that others can be answered from: the first scored run of each key, whatever campaign it was for."""

from __future__ import annotations

from dataclasses import dataclass

from ..evolution.models import Evaluation
from ..evolution.progress import Progress
from . import experiments, progress
from .connection import Reader
from .experiments import StoredFile


@dataclass(frozen=True)
class KnownResult:
    """Everything that a run left."""

    evaluation_id: int
    evaluation: Evaluation
    logs: dict[str, str]
    artifacts: list[StoredFile]
    progress: Progress | None


async def known(reader: Reader, key: str) -> KnownResult | None:
    """The run that has the result of a key; `None` where none has."""
    row = await reader.one(
        "SELECT id, experiment_id FROM evaluations WHERE result_key = ? AND cached_from IS NULL AND outcome = 'scored'"
        " ORDER BY id LIMIT 1",
        (key,),
    )
    if row is None:
        return None
    found = {stored.id: stored for stored in await experiments.evaluations(reader, [row["experiment_id"]])}[row["id"]]
    return KnownResult(
        found.id,
        found.evaluation,
        await experiments.log(reader, found.id),
        await experiments.artifacts(reader, found.id),
        (await progress.of_evaluations(reader, [found.id])).get(found.id),
    )
