"""The stage cascade: given what an experiment has been through, what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..domains.contract import DomainSpec, Stage
from ..evolution.models import Evaluation
from ..evolution.outcomes import Outcome
from ..evolution.statistics import mean


@dataclass(frozen=True)
class Step:
    """Run this stage with this seed."""

    stage: Stage
    seed: int


@dataclass(frozen=True)
class End:
    """The experiment is over. `stage` is where it ended; a score is the mean over the seeds there."""

    outcome: Outcome
    reason: str
    stage: str
    score: float | None


def next_step(
    spec: DomainSpec, target: str, seeds: Sequence[int], evaluations: Sequence[Evaluation], has_score: bool
) -> Step | End:
    """What an experiment does next.

    Cheaper stages run with the first seed alone, the target with every seed. A node that has a score already has
    passed the cheaper stages, so a stage on request starts at once.

    Args:
        target: stage that the experiment aims at.
        evaluations: what the experiment has been through, in order.
        has_score: whether its node had a score before.
    """
    way = spec.cascade(target)
    aim = way[-1]
    for stage in way[-1:] if aim.on_request and has_score else way:
        may_finish = stage is aim or (stage.when_scored == "finish" and not aim.on_request)
        step = _at_stage(stage, seeds if may_finish else seeds[:1], evaluations)
        if isinstance(step, Step):
            return step
        if step.outcome is Outcome.LIMIT and stage is not aim and _only_out_of_time(stage, evaluations):
            continue
        if step.outcome is not Outcome.SCORED or may_finish:
            return step
    raise AssertionError("unreachable: the target stage always returns")


def _at_stage(stage: Stage, seeds: Sequence[int], evaluations: Sequence[Evaluation]) -> Step | End:
    here = {evaluation.seed: evaluation for evaluation in evaluations if evaluation.stage == stage.name}
    scores: list[float] = []
    for seed in seeds:
        evaluation = here.get(seed)
        if evaluation is None:
            return Step(stage, seed)
        if evaluation.outcome is not Outcome.SCORED or evaluation.score is None:
            return End(evaluation.outcome, evaluation.reason, stage.name, None)
        if stage.min_score is not None and evaluation.score < stage.min_score:
            return End(
                Outcome.REJECTED,
                f"Scored {evaluation.score:.6g} at stage {stage.name}, where at least {stage.min_score:.6g} is needed "
                "to go on.",
                stage.name,
                None,
            )
        scores.append(evaluation.score)
    return End(Outcome.SCORED, "", stage.name, mean(scores).value)


def _only_out_of_time(stage: Stage, evaluations: Sequence[Evaluation]) -> bool:
    last = [evaluation for evaluation in evaluations if evaluation.stage == stage.name][-1]
    return stage.when_out_of_time == "continue" and last.limit is not None and last.limit.name in ("cpu", "wall")
