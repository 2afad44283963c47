"""Judges what a node's runs left once more, or runs the candidate again, and says whether the node's score stands.

It goes through the same supervisor and the same isolation as the daemon, in folders of its own, and stores nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from ..database import baselines, campaigns, experiments, judgements, nodes
from ..database.experiments import StoredEvaluation
from ..database.seed_key import seed_key
from ..database.workspace import Workspace
from ..domains.loader import Domain, find_domain
from ..domains.stages import Stage
from ..evolution.errors import BadInput, DomainError, EvolveError, NotFound, SandboxUnavailable
from ..evolution.judging import Weighing
from ..evolution.models import Campaign, Node
from ..evolution.outcomes import Outcome
from ..evolution.relative import Statistics
from ..evolution.statistics import Mean, mean
from .check_bench import CheckBench
from .interpreter import describe_interpreter
from .isolation import Tier
from .isolation.choice import find_isolation
from .jobs import JobExit
from .measuring import comparison, with_score
from .preparation import Grant, requirement_names
from .provenance import DataFingerprints, Difference, differences, known_before

TOLERANCE = 1e-9
"""Relative; scores nearer to zero than a thousandth of it are equal too."""

Result = TypeVar("Result")
Standing = Literal["stands", "does_not_stand", "cannot_be_checked"]


@dataclass(frozen=True)
class Check:
    """One run, judged or made again."""

    experiment_id: int
    seed: int
    rerun: bool
    standing: Standing
    text: str
    before: float | None
    after: float | None
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class Report:
    """What became of a node's score."""

    node_id: int
    stage: str
    score: float
    standing: Standing
    text: str
    checks: tuple[Check, ...]
    differences: tuple[Difference, ...]
    """Of all checks, each once."""
    node_score: float | None = None
    """What judges made of `score`, where the domain has a rubric."""


async def verify(
    workspace: Workspace, node_id: int, *, rerun: bool, gpus: Sequence[int], minimum: Tier = "landlock"
) -> Report:
    """Check every run that a node's score is the mean of.

    Args:
        rerun: also run the candidate again, with the same seeds.
        gpus: devices that it may use for that.
        minimum: the weakest sandbox to make do with.

    Raises:
        NotFound: there is no such node.
        BadInput: it has no score.
    """
    node = await nodes.get(workspace.read, node_id)
    if node.metric_score is None or node.score_stage is None:
        state = f"ended as {node.outcome}" if node.outcome is not None else f"is {node.status}"
        raise BadInput(f"Expected n{node_id} to have a score, but it {state}. There is nothing to verify.")
    runs = await experiments.scoring_runs(workspace.read, node_id, node.score_stage)
    # Not among the jobs, where the daemon clears up; on the same disk, which has room for outputs.
    with tempfile.TemporaryDirectory(prefix="verify-", dir=workspace.paths.root) as root:
        try:
            judge = await _judge(workspace, node, node.score_stage, tuple(gpus), minimum, Path(root))
        except (NotFound, DomainError, SandboxUnavailable) as error:
            unchecked = [_unchecked(run, False, str(error)) for run in runs]
            return _report(node, node.score_stage, node.metric_score, runs, unchecked)
        checks = [await judge.evaluate(run) for run in runs]
        if rerun:
            checks += [await judge.rerun(run) for run in runs]
    report = _report(node, node.score_stage, node.metric_score, runs, checks)
    if node.judging is None:
        return report
    rubric, quality = judge.domain.spec.judge, await judgements.quality_of(workspace.read, node.id)
    return _with_judges(report, node, rubric.weighing if rubric is not None else None, quality)


async def _judge(
    workspace: Workspace, node: Node, stage: str, gpus: tuple[int, ...], minimum: Tier, root: Path
) -> _Judge:
    campaign = await campaigns.get(workspace.read, node.campaign_id)
    domain = find_domain(campaign.domain)
    found = domain.spec.stage(stage)
    if found is None:
        raise DomainError(f"Expected domain {domain.name} to have the stage {stage}, but it no longer has.")
    packages = requirement_names(domain.spec.domain.requirements)
    interpreter = describe_interpreter(campaign.settings.python or sys.executable, packages)
    key = await seed_key(workspace.read)  # for the same labels as then
    isolation = find_isolation(interpreter, minimum)
    grant = Grant(isolation, interpreter, found.cpus, gpus[: found.gpus], seed_key=key)
    baseline = await baselines.statistics(workspace.read, campaign.id, stage)
    bench = CheckBench(root, domain, found, grant, known_before(domain, DataFingerprints()))
    return _Judge(workspace, node, campaign, domain, found, grant, bench, baseline)


@dataclass(frozen=True)
class _Judge:
    """The domain as it is now, and what its programs run with."""

    workspace: Workspace
    node: Node
    campaign: Campaign
    domain: Domain
    stage: Stage
    grant: Grant
    bench: CheckBench
    baseline: Statistics
    """What the campaign's baseline came to at that stage, where scores are relative to it."""

    async def evaluate(self, run: StoredEvaluation) -> Check:
        """The evaluator on the stored outputs of a run."""
        try:
            outputs = await self._stored_outputs(run)
        except EvolveError as error:
            return _unchecked(run, False, str(error))
        instance, seed = self.campaign.instance, run.evaluation.seed
        told = comparison(self.baseline, seed, own=self.node.is_baseline)
        end = await self._work(lambda: self.bench.judge(outputs, instance, seed=seed, comparison=told))
        return self._compared(run, end, rerun=False)

    async def rerun(self, run: StoredEvaluation) -> Check:
        """Candidate and evaluator with the seed of a run."""
        if self.stage.gpus > len(self.grant.gpus):
            return _unchecked(run, True, f"Stage {self.stage.name} needs {self.stage.gpus} GPU(s), which are not here.")
        if "stopped_early" in run.evaluation.environment:
            return _unchecked(run, True, "It was stopped early, at a moment that no run hits again.")
        files = await nodes.files(self.workspace.read, self.node.id)
        kept = {file.name: file.sha256 for file in await experiments.artifacts(self.workspace.read, run.id)}
        instance, seed = self.campaign.instance, run.evaluation.seed
        compared = comparison(self.baseline, seed, own=self.node.is_baseline)
        ran = await self._work(lambda: self.bench.run(files, instance, seed, compared))
        check = self._compared(run, ran.end, rerun=True)
        if ran.end.outcome is not Outcome.SCORED:
            return check
        equal = all(kept.get(name) == hashlib.sha256(data).hexdigest() for name, data in ran.outputs.items())
        told = "outputs equal bit for bit" if equal else "outputs not equal bit for bit"
        return replace(check, text=f"{check.text}, {told}")

    async def _stored_outputs(self, run: StoredEvaluation) -> dict[str, bytes]:
        kept = {file.name: file.sha256 for file in await experiments.artifacts(self.workspace.read, run.id)}
        outputs: dict[str, bytes] = {}
        for output in self.domain.spec.outputs.values():
            if output.file in kept:
                outputs[output.file] = self.workspace.artifacts.read(kept[output.file])
            elif output.required:
                raise NotFound(f"Expected the output {output.file} of this run to be stored, but it is not.")
        return outputs

    async def _work(self, job: Callable[[], Result]) -> Result:
        """A job in a thread of its own. Where we are interrupted it is ended, and waited for."""
        working = asyncio.ensure_future(asyncio.to_thread(job))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            self.bench.stop()
            await working
            raise

    def _compared(self, run: StoredEvaluation, job_exit: JobExit, *, rerun: bool) -> Check:
        spec, seed, own = self.domain.spec, run.evaluation.seed, self.node.is_baseline
        job_exit = with_score(spec, self.stage.name, job_exit, seed, self.baseline, own=own)
        before, metric = run.evaluation.score, spec.fitness.metric
        changed = tuple(
            difference
            for difference in differences(run.evaluation.environment, job_exit.environment)
            if difference.what != "stopped_early" and (rerun or difference.what != "gpu")  # the evaluator has none
        )
        if job_exit.outcome is Outcome.SCORED and metric in job_exit.metrics and before is not None:
            after = spec.fitness.score(job_exit.metrics)
            standing: Standing = "stands" if _equal(before, after) else "does_not_stand"
            text = f"scored {before!r} then and {after!r} now"
            return Check(
                run.evaluation.experiment_id, run.evaluation.seed, rerun, standing, text, before, after, changed
            )
        if job_exit.outcome is not Outcome.SCORED and job_exit.outcome.counts_against_candidate:
            text = f"scored {before!r} then and ends as {job_exit.outcome} now: {job_exit.reason}"
            return replace(_unchecked(run, rerun, text), standing="does_not_stand", differences=changed)
        reason = job_exit.reason or f"The evaluator reports no {metric}."
        return replace(_unchecked(run, rerun, reason), differences=changed)


def _unchecked(run: StoredEvaluation, rerun: bool, reason: str) -> Check:
    evaluation = run.evaluation
    return Check(
        evaluation.experiment_id, evaluation.seed, rerun, "cannot_be_checked", reason, evaluation.score, None, ()
    )


def _report(node: Node, stage: str, score: float, runs: Sequence[StoredEvaluation], checks: Sequence[Check]) -> Report:
    standing, text = _conclusion(score, runs, checks)
    changed = tuple(dict.fromkeys(difference for check in checks for difference in check.differences))
    return Report(node.id, stage, score, standing, text, tuple(checks), changed)


def _with_judges(report: Report, node: Node, weighing: Weighing | None, quality: float | None) -> Report:
    """Whether the node's score is what metric and judgements come to; the marks themselves are nobody's to check."""
    if weighing is None:
        text = f"The node's score {node.score!r} does not stand: the domain no longer has a rubric. {report.text}"
        return replace(report, standing="does_not_stand", text=text, node_score=node.score)
    now = weighing.combined(Mean(report.score, None, 1), quality).value
    if node.score is None or not _equal(node.score, now):
        text = f"The node's score {node.score!r} does not stand: with its judgements it is {now!r}. {report.text}"
        return replace(report, standing="does_not_stand", text=text, node_score=node.score)
    said = f"with its judgements ({quality:.3g} of 1)" if quality is not None else "as nobody has judged it yet"
    return replace(report, text=f"{report.text} {said.capitalize()}, the node's score is {now!r}.", node_score=now)


def _conclusion(score: float, runs: Sequence[StoredEvaluation], checks: Sequence[Check]) -> tuple[Standing, str]:
    scores = [run.evaluation.score for run in runs if run.evaluation.score is not None]
    if not scores:
        return "cannot_be_checked", f"The score {score!r} cannot be checked: none of its runs is stored."
    if not _equal(score, mean(scores).value):
        return "does_not_stand", f"The score {score!r} does not stand: the mean of its runs is {mean(scores).value!r}."
    doubts: tuple[tuple[Standing, str], ...] = (
        ("does_not_stand", "does not stand"),
        ("cannot_be_checked", "cannot be checked"),
    )
    for standing, words in doubts:
        found = [check for check in checks if check.standing == standing]
        if found:
            first = found[0]
            how = "run again, it " if first.rerun and standing == "does_not_stand" else ""
            return (
                standing,
                f"The score {score!r} {words}: e{first.experiment_id}, seed {first.seed}: {how}{first.text}",
            )
    made = "judged and run" if any(check.rerun for check in checks) else "judged"
    return "stands", f"The score {score!r} stands: {made} again, {len(runs)} run(s) score the same."


def _equal(before: float, after: float) -> bool:
    return math.isclose(before, after, rel_tol=TOLERANCE, abs_tol=TOLERANCE / 1000)
