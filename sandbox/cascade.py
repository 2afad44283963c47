"""The stage cascade: given what an experiment has been through, what comes next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..domains.contract import DomainSpec
from ..domains.stages import Stage
from ..evolution.errors import DomainError
from ..evolution.models import Evaluation, Quarantine
from ..evolution.outcomes import Outcome
from ..evolution.quarantine import Verdict, breaks, not_repeated, verdict, verdict_on_alarm
from ..evolution.statistics import mean


@dataclass(frozen=True)
class Step:
    """Run this stage with this seed."""

    stage: Stage
    seed: int


@dataclass(frozen=True)
class Measure:
    """The baseline has run with every seed at a stage whose scores are relative to it: they can be computed now."""

    stage: Stage


@dataclass(frozen=True)
class End:
    """The experiment is over. `stage` is where it ended; a score is the mean over the seeds there."""

    outcome: Outcome
    reason: str
    stage: str
    score: float | None


def next_step(
    spec: DomainSpec,
    target: str,
    seeds: Sequence[int],
    evaluations: Sequence[Evaluation],
    has_score: bool,
    quarantine: Quarantine | None = None,
    unmeasured: Collection[str] = (),
) -> Step | Measure | End:
    """What an experiment does next.

    Cheaper stages run with the first seed alone, the target with every seed. A node that has a score already has
    passed the cheaper stages, so a stage on request starts at once.

    Args:
        target: stage that the experiment aims at.
        evaluations: what the experiment has been through, in order.
        has_score: whether its node had a score before.
        quarantine: set where the experiment has scored and the score is held; what is left then are the repeats.
        unmeasured: for an experiment of the baseline, the stages where its statistics are still to be taken. There it
            runs with all the seeds that these want, also on the way to a dearer stage.
    """
    way = spec.cascade(target)
    if quarantine is not None:
        return _next_repeat(spec, way, quarantine, evaluations)
    aim = way[-1]
    for stage in way[-1:] if aim.on_request and has_score else way:
        may_finish = stage is aim or (stage.when_scored == "finish" and not aim.on_request)
        chosen = seeds if may_finish else seeds[:1]
        if stage.name in unmeasured:
            chosen = _at_least(stage.baseline_seeds, chosen)
        step = _at_stage(stage, chosen, evaluations)
        if not isinstance(step, End):
            return step
        if step.outcome is Outcome.LIMIT and stage is not aim and _only_out_of_time(stage, evaluations):
            continue
        if step.outcome is not Outcome.SCORED or may_finish:
            return step
    raise AssertionError("unreachable: the target stage always returns")


def _at_least(count: int, seeds: Sequence[int]) -> list[int]:
    """Some seeds, and those that follow them where they are too few."""
    first = max(seeds) + 1
    return [*seeds, *range(first, first + count - len(seeds))]


def _at_stage(stage: Stage, seeds: Sequence[int], evaluations: Sequence[Evaluation]) -> Step | Measure | End:
    here = {evaluation.seed: evaluation for evaluation in evaluations if evaluation.stage == stage.name}
    scores: list[float] = []
    for seed in dict.fromkeys([*seeds, *here]):  # what was measured with more seeds counts with all of them
        evaluation = here.get(seed)
        if evaluation is None:
            return Step(stage, seed)
        if evaluation.outcome is not Outcome.SCORED:
            return End(evaluation.outcome, evaluation.reason, stage.name, None)
        if evaluation.score is None:
            continue
        if stage.min_score is not None and evaluation.score < stage.min_score:
            return End(
                Outcome.REJECTED,
                f"Scored {evaluation.score:.6g} at stage {stage.name}, where at least {stage.min_score:.6g} is needed "
                "to go on.",
                stage.name,
                None,
            )
        scores.append(evaluation.score)
    if len(scores) < len(here):
        return Measure(stage)
    return End(Outcome.SCORED, "", stage.name, mean(scores).value)


def _next_repeat(
    spec: DomainSpec, way: Sequence[Stage], held: Quarantine, evaluations: Sequence[Evaluation]
) -> Step | End:
    """Every other seed at the stage that scored; then the score is released or refused."""
    names = [stage.name for stage in way]
    if held.stage not in names:
        raise DomainError(f"Expected stage {held.stage}, where a score is held, but the domain no longer has it.")
    repeats: list[Evaluation] = []
    for seed in held.seeds:
        step = _repeat(way[names.index(held.stage) :], seed, evaluations)
        if isinstance(step, Step):
            return step
        if not step.outcome.counts_against_candidate:
            return End(step.outcome, step.reason, held.stage, None)
        if step.score is None:
            return End(Outcome.REJECTED, not_repeated(held, seed, step.outcome, step.reason), held.stage, None)
        if held.alarm is not None and held.alarm.metric not in step.metrics:
            reason = f"Expected the evaluator to report {held.alarm.metric}, for which a score is held, but it did not."
            return End(Outcome.INFRASTRUCTURE_ERROR, reason, held.stage, None)
        repeats.append(step)
    released, reason = _verdict(spec, held, repeats)
    if not released:
        return End(Outcome.REJECTED, reason, held.stage, None)
    scores = [run.score for run in evaluations if run.stage == held.stage and run.score is not None]
    return End(Outcome.SCORED, reason, held.stage, mean(scores).value)


def _verdict(spec: DomainSpec, held: Quarantine, repeats: Sequence[Evaluation]) -> Verdict:
    """A bound is held against every score, whatever was the cause."""
    scores = [run.score for run in repeats if run.score is not None]
    rung, confirm = held.alarm, spec.quarantine.confirm
    if rung is None or any(breaks(held.bound, score) for score in scores):
        return verdict(held, scores, confirm=confirm)
    return verdict_on_alarm(held, rung, [run.metrics[rung.metric] for run in repeats], confirm=confirm)


def _repeat(way: Sequence[Stage], seed: int, evaluations: Sequence[Evaluation]) -> Step | Evaluation:
    """One other seed. Where it needs longer than the first ones, it goes on to a dearer stage like any candidate."""
    *cheaper, aim = way
    for stage in cheaper:
        here = [run for run in evaluations if (run.stage, run.seed) == (stage.name, seed)]
        if not here:
            return Step(stage, seed)
        if not _only_out_of_time(stage, here):
            return here[-1]
    return next(
        (run for run in reversed(evaluations) if (run.stage, run.seed) == (aim.name, seed)),
        Step(aim, seed),
    )


def _only_out_of_time(stage: Stage, evaluations: Sequence[Evaluation]) -> bool:
    last = [evaluation for evaluation in evaluations if evaluation.stage == stage.name][-1]
    return stage.when_out_of_time == "continue" and last.limit is not None and last.limit.name in ("cpu", "wall")
