"""The words of the house as types: campaign, node, experiment, evaluation, cognition item, lesson."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from .outcomes import ExperimentStatus, LimitHit, Outcome, ResourceUsage

Metrics = dict[str, float]
"""Metric name to finite number."""


class CognitionOrigin(StrEnum):
    """Who put an item into the cognition store."""

    SEED = "seed"
    AGENT = "agent"
    LESSON = "lesson"
    HUMAN = "human"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Budget(_Model):
    """Bounds of a campaign. `None` means unbounded; `experiments` is compulsory."""

    experiments: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Experiments, each counted once however many stages and seeds it runs."""
    rounds: Annotated[int, Field(ge=1)] | None = None
    """Candidates besides the baseline."""
    cpu_seconds: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """CPU time of all evaluations together."""
    gpu_seconds: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Wall time of all evaluations times the GPUs each held."""
    wall_seconds: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Time since the campaign began."""
    target_score: FiniteFloat | None = None
    """The campaign has done its work when a node scores this much."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Candidates in a row that finish without a new best score."""


class SamplingOptions(_Model):
    """How parents and references are drawn. Defaults of MAP-Elites as published (arXiv 2603.29640)."""

    exploration_weight: Annotated[FiniteFloat, Field(ge=0, le=1000)] = 1.414
    """c of UCB1."""
    parent_pool: Annotated[int, Field(ge=1)] | None = None
    """The sampler sees only so many best nodes when it draws the parent; `None` is all. Published for architectures:
    10."""
    reference_pool: Annotated[int, Field(ge=1)] | None = None
    """References are drawn at random from so many best nodes; `None` lets the sampler name them. Published for
    architectures: 50."""
    population_cap: Annotated[int, Field(ge=1)] | None = None
    """Nodes beyond so many best ones are not drawn any more, though they stay stored. Published for packing: 70."""
    draw_timeout_s: Annotated[FiniteFloat, Field(gt=0)] = 3600.0
    """A parent that was handed out and led to no experiment counts as being worked on for so many seconds."""
    islands: Annotated[int, Field(ge=1, le=100)] = 5
    migration_every: Annotated[int, Field(ge=1)] = 10
    """Scored candidates of an island between two migrations from it."""
    migration_rate: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.1
    """Share of an island's elites that migrate."""
    exploration: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.2
    """Share of draws that take any node of the island."""
    exploitation: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.6
    """Share of draws that take an elite; what is left, if anything, takes a node of the island weighted by score."""
    bins: Annotated[int, Field(ge=2, le=100)] = 10
    """Of each measure."""
    exchange: bool = False
    """Whether elites of other campaigns of the same research program, on the same domain and instance, migrate in."""


NoveltyPolicy = Literal["reject", "warn", "allow"]


class CampaignOptions(_Model):
    """What a campaign can choose besides budget, sampler and seeds."""

    references: Annotated[int, Field(ge=0, le=20)] = 2
    """Context nodes handed out beside the parent."""
    sampling: SamplingOptions = SamplingOptions()
    novelty: NoveltyPolicy = "warn"
    """`reject` refuses what the campaign has or nearly has, `warn` tells of what it nearly has, `allow` of both."""
    cognition: bool = True
    """False: no cognition is shown, to measure what it is worth."""
    lessons: bool = True
    """False: no analyses and lessons are shown, raw results alone, to measure what they are worth."""


class CampaignSettings(CampaignOptions):
    """What a campaign was started with; everything needed to run it again."""

    sampler: str = "ucb1"
    """Name of the parent sampling policy."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Base of every random choice and evaluation seed."""
    seeds: Annotated[int, Field(ge=1, le=64)] = 1
    """Evaluation seeds per experiment."""
    python: str | None = None
    """Interpreter that runs harness, candidate and evaluator; `None` is the server's own."""
    budget: Budget = Budget()


class Campaign(_Model):
    """One search on one domain."""

    id: int
    name: str
    goal: str
    program: str | None
    """Name of the research program that it belongs to."""
    domain: str
    """Name of a built-in or installed domain, or the absolute path of a domain folder."""
    domain_name: str
    domain_version: str
    instance: str | None
    settings: CampaignSettings
    samples_drawn: int
    """Parents handed out so far."""
    cpu_seconds: float
    """Used by all its evaluations."""
    gpu_seconds: float
    created_at: float
    """Seconds since the epoch."""


class Judging(_Model):
    """What the score of a node is made of, where its domain has a rubric."""

    metric: float
    """Mean over the seeds: what scores of evaluations compare with."""
    quality: float | None
    """Mean of what the judges say, 0 to 1; `None` until one has judged. That counts as 0."""


def _is_none(value: object) -> bool:
    return value is None


OnlyWithRubric = Annotated[Judging | None, Field(exclude_if=_is_none)]


class Node(_Model):
    """A candidate program with its place in the search. Its motivation, files and metrics are fetched apart."""

    id: int
    campaign_id: int
    name: str
    parents: tuple[int, ...]
    """The first parent is the one that was edited; the others lent ideas."""
    is_baseline: bool
    status: ExperimentStatus
    """Of its latest experiment."""
    outcome: Outcome | None
    """Of its latest experiment that said something about the candidate; of the latest one where none has."""
    score: float | None
    """Mean over the seeds of the deepest stage that scored, combined with what judges say where the domain has a
    rubric; higher is better."""
    score_stderr: float | None
    """Standard error of that score by its seeds; `None` below two."""
    score_seeds: int
    score_stage: str | None
    visits: int
    """How often it was handed out as a parent."""
    code_bytes: int
    created_at: float
    judging: OnlyWithRubric = None

    @property
    def metric_score(self) -> float | None:
        """What scores of evaluations compare with."""
        return self.judging.metric if self.judging is not None else self.score

    @property
    def unjudged(self) -> bool:
        """Whether its score waits for a judgement and counts the lowest marks meanwhile."""
        return self.judging is not None and self.judging.quality is None


class Evaluation(_Model):
    """One run of one stage with one seed."""

    experiment_id: int
    stage: str
    seed: int
    outcome: Outcome
    reason: str
    """One or two sentences for a reader; empty when scored."""
    score: float | None
    metrics: Metrics
    limit: LimitHit | None
    usage: ResourceUsage
    environment: dict[str, str]
    """Where the score comes from: hashes of evaluator, harness and data, domain version, interpreter and packages,
    processor, sandbox tier."""
    started_at: float
    finished_at: float
    cached_from: int | None = None
    """The experiment whose run answered this one, where a stage with `cache` was not run again."""


QuarantineCause = Literal["bound", "outlier", "alarm"]


class FormerScore(_Model):
    """The score that a node had before one of its later experiments was held."""

    value: float
    stderr: float | None
    seeds: int
    stage: str
    judging: OnlyWithRubric = None


class RungAlarm(_Model):
    """A metric that was far better than any before."""

    metric: str
    higher_is_better: bool
    value: float
    """Mean over the seeds."""
    best: float
    """Of the other nodes at that stage."""


class Quarantine(_Model):
    """A score that is held until the candidate has run with other seeds. Scores: higher is better."""

    cause: QuarantineCause
    """`bound`: it is above the proven bound of the domain. `outlier`: it is far above the population. `alarm`: one of
    its metrics is far better than any before."""
    reason: str
    """What was scored and what it was compared with, without a full stop."""
    stage: str
    score: float
    """The one that is held, the mean over its seeds."""
    bound: float | None
    """Proven, where the domain has one."""
    median: float | None
    """Of the population that an outlier was compared with."""
    seeds: tuple[int, ...]
    """Of the repeats: drawn from the operating system, so that no candidate can know them."""
    former: FormerScore | None
    alarm: RungAlarm | None = None
    """Which, where one was the cause."""


class Experiment(_Model):
    """One evaluation order for a node: walk the cascade up to `stage`, with each of `seeds` there."""

    id: int
    node_id: int
    campaign_id: int
    stage: str
    seeds: tuple[int, ...]
    status: ExperimentStatus
    outcome: Outcome | None
    reason: str
    score: float | None
    current_stage: str | None
    """The stage that is running now."""
    quarantine: Quarantine | None
    """Set once a score was held; released where the outcome is `scored`."""
    cancel_requested: bool
    created_at: float
    started_at: float | None
    finished_at: float | None


class CognitionItem(_Model):
    """A piece of prior knowledge with its source."""

    id: int
    domain: str | None
    """`None` is knowledge for every domain."""
    title: str
    body: str
    symptom: str
    """What in the results makes this item relevant."""
    source: str
    """arXiv id, DOI or URL in its canonical form, or free words."""
    more_sources: tuple[str, ...] = ()
    """Of items that were merged into this one."""
    tags: tuple[str, ...]
    origin: CognitionOrigin
    created_at: float


class Lesson(_Model):
    """What an analysis distilled from one or more experiments."""

    id: int
    campaign_id: int
    node_id: int
    text: str
    tags: tuple[str, ...]
    created_at: float
