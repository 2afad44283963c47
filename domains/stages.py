"""The stages of a domain: the `[[stages]]` of `domain.toml`, cheapest first."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from .section import Name, Positive, Section, Value


class Stage(Section):
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
    baseline_seeds: Annotated[int, Field(ge=0, le=64)] = 0
    """With `[fitness.relative]`: the score here is relative to what the baseline came to with at least so many seeds.
    0: it is not, and the evaluator reports `fitness.metric` itself."""
    cache: bool = False
    """Declares that the same program, seed and settings give the same result on the same machine: then a run is
    answered from an earlier one of the workspace that scored, where there is one."""
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
