"""Checks a domain before a campaign starts: its baseline must score, and nothing malformed may."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ..domains.fuzzing import Mutant, Nudge, kind_of, mutants
from ..domains.loader import Domain
from ..domains.own_cases import OwnCase, own_cases
from ..domains.stages import Stage
from ..domains.static_check import check_candidate
from ..evolution.errors import BadInput, NotFound, SandboxUnavailable
from ..evolution.relative import Statistics, measured
from .check_bench import SEED, CheckBench, Ran
from .interpreter import describe_interpreter
from .isolation import Tier
from .isolation.choice import find_isolation
from .jobs import JobExit
from .measuring import comparison, with_score
from .preparation import Comparison, Grant, requirement_names
from .supervisor import EVALUATOR_OVER_BOUND
from .verdicts import (
    Honest,
    Line,
    baseline_lines,
    judge_lines,
    own_case_line,
    repeat_line,
    score_of,
    series_line,
    size_of,
    verdict,
)

PROGRESS_EVERY = 10
PATIENCE_FACTOR = 20.0
LEAST_PATIENCE_S = 20.0
"""An evaluator may take so many times as long over a malformed output as over an honest one, and always so long."""
OVERRUNS = 3
"""After so many evaluators that had to be stopped, the rest is not run: each takes all of the patience."""

Item = TypeVar("Item")
End = TypeVar("End")


@dataclass(frozen=True)
class DomainCheck:
    """The report."""

    domain: str
    version: str
    folder: str
    stage: str
    tier: str
    lines: tuple[Line, ...]

    @property
    def passed(self) -> bool:
        """Whether a campaign may start on it."""
        return all(line.state != "failed" for line in self.lines)


def check_domain(
    domain: Domain,
    *,
    stage: str | None,
    python: str,
    cpus: int,
    gpus: tuple[int, ...],
    progress: Callable[[str], None],
    minimum: Tier = "landlock",
) -> DomainCheck:
    """Run a domain's baseline, then its evaluator on everything malformed that can be made of the baseline's outputs.

    Args:
        stage: the first, which is the cheapest, where it is `None`.
        cpus: how many CPUs evaluators may keep busy at once.
        minimum: the weakest sandbox to make do with.
        progress: told a line whenever something has been done.

    Raises:
        NotFound: the domain has no such stage.
        DomainError: its own cases cannot be read.
        SandboxUnavailable: nothing can be run on this machine, or the stage needs GPUs that it has not.
    """
    chosen = _stage(domain, stage)
    cases = own_cases(domain)
    grant = _grant(domain, chosen, python, cpus, gpus, minimum)
    with tempfile.TemporaryDirectory(prefix="asi-evolve-check-", ignore_cleanup_errors=True) as root:
        bench = CheckBench(Path(root), domain, chosen, grant)
        try:
            at_once = max(1, cpus // grant.cpus)
            lines = tuple(_Check(domain, bench, at_once, progress).lines(cases, grant))
        except BaseException:
            bench.stop()
            raise
    spec = domain.spec.domain
    return DomainCheck(spec.name, spec.version, str(domain.folder), chosen.name, grant.isolation.name, lines)


def _stage(domain: Domain, name: str | None) -> Stage:
    stage = domain.spec.stages[0] if name is None else domain.spec.stage(name)
    if stage is None:
        names = ", ".join(stage.name for stage in domain.spec.stages)
        raise NotFound(f"Expected a stage of domain {domain.name} out of {names}, but got {name!r}.")
    return stage


def _grant(domain: Domain, stage: Stage, python: str, cpus: int, gpus: tuple[int, ...], minimum: Tier) -> Grant:
    if stage.gpus > len(gpus):
        raise SandboxUnavailable(
            f"Stage {stage.name} needs {stage.gpus} GPU(s), but {len(gpus)} may be used. Run on a machine with a GPU, "
            "or name its devices in ASI_EVOLVE_GPUS."
        )
    interpreter = describe_interpreter(python, requirement_names(domain.spec.domain.requirements))
    return Grant(find_isolation(interpreter, minimum), interpreter, min(stage.cpus, cpus), gpus[: stage.gpus])


class _Check:
    """One check."""

    def __init__(self, domain: Domain, bench: CheckBench, at_once: int, progress: Callable[[str], None]) -> None:
        self._domain = domain
        self._spec = domain.spec
        self._bench = bench
        self._at_once = at_once
        self._progress = progress
        self._overruns = 0
        self._references: dict[str | None, Statistics] = {}
        self._measuring = threading.Lock()

    def lines(self, cases: list[OwnCase], grant: Grant) -> Iterator[Line]:
        """Everything, in the order of the report; it ends early where the baseline is not scored."""
        yield from _missing(grant)
        try:
            check_candidate(self._domain.baseline, self._spec.candidate)
        except BadInput as error:
            yield Line("baseline", "failed", f"would be refused before it runs: {error}")
            return
        self._progress("running the baseline")
        ran = self._run_baseline()
        self._references[None] = measured({SEED: ran.end.metrics})
        ran = replace(ran, end=self._scored(ran.end, own=True))
        yield from baseline_lines(self._spec, ran.end)
        score = score_of(self._spec, ran.end)
        if score is None:
            return
        size = size_of(self._spec, self._bench.stage.name, score, ran.end.metrics)
        bound = self._spec.fitness.score_bound(self._domain.parameters(None)[1])
        yield from judge_lines(self._spec, score, size, bound)
        self._progress("running it again")
        second = self._scored(self._run_baseline().end, own=True)
        judged = self._scored(self._bench.judge(ran.outputs, comparison=Comparison(is_baseline=True)), own=True)
        again, judged_again = score_of(self._spec, second), score_of(self._spec, judged)
        yield repeat_line("baseline, same seed", score, again, second)
        yield repeat_line("evaluator, same outputs", score, judged_again, judged)
        honest = Honest(ran.end.metrics, tuple(s for s in (score, again, judged_again) if s is not None), size)
        patience = max(LEAST_PATIENCE_S, PATIENCE_FACTOR * (judged.finished_at - judged.started_at))
        yield from self._undeclared(ran.outputs)
        yield from self._malformed(ran.outputs, honest, patience)
        yield from self._own(cases)

    def _undeclared(self, outputs: dict[str, bytes]) -> Iterator[Line]:
        for output in self._spec.outputs.values():
            loose = output.arrays is None and output.file in outputs
            if loose and kind_of(output, outputs[output.file]) == "arrays":
                text = "declare its arrays in domain.toml: then their form is checked before the evaluator sees them"
                yield Line(output.file, "warning", text)

    def _malformed(self, outputs: dict[str, bytes], honest: Honest, patience: float) -> Iterator[Line]:
        made = list(mutants(self._spec.outputs, outputs))
        ends = self._all(made, lambda mutant: self._judge(outputs, mutant, patience))
        series: dict[str, list[tuple[Nudge, JobExit]]] = {}
        skipped = 0
        for mutant, end in zip(made, ends, strict=True):
            if end is None:
                skipped += 1
            elif mutant.nudge is not None:
                series.setdefault(mutant.nudge.series, []).append((mutant.nudge, end))
            else:
                yield verdict(self._spec, mutant.name, mutant.expectation, end, honest)
        for name, steps in series.items():
            yield series_line(self._spec, name, steps, honest)
        if skipped:
            text = f"{skipped} were not run, since {OVERRUNS} evaluators had to be stopped"
            yield Line("further malformed outputs", "failed", text)

    def _judge(self, outputs: dict[str, bytes], mutant: Mutant, patience: float) -> JobExit | None:
        if self._overruns >= OVERRUNS:
            return None
        content = mutant.make()
        rest = {file: data for file, data in outputs.items() if file != mutant.file}
        handed = rest if content is None else rest | {mutant.file: content}
        end = self._scored(self._bench.judge(handed, wall_seconds=patience, comparison=self._comparison(None)))
        if end.reason.startswith(EVALUATOR_OVER_BOUND):
            self._overruns += 1  # threads may lose a count to each other; then one more is run
        return end

    def _own(self, cases: list[OwnCase]) -> Iterator[Line]:
        for case, end in zip(cases, self._all(cases, self._run_own), strict=True):
            yield own_case_line(self._spec, case, end)

    def _run_own(self, case: OwnCase) -> JobExit:
        instance = case.settings.instance
        told = self._comparison(instance)
        if case.candidate is not None:
            end = self._bench.run(case.candidate, instance, comparison=told).end
        else:
            end = self._bench.judge(case.outputs or {}, instance, comparison=told)
        return self._scored(end, instance)

    def _run_baseline(self, instance: str | None = None) -> Ran:
        return self._bench.run(self._domain.baseline, instance, comparison=Comparison(is_baseline=True))

    def _reference(self, instance: str | None) -> Statistics:
        """What scores of an instance are relative to: a run of the honest baseline there."""
        if not self._bench.stage.baseline_seeds:
            return {}
        with self._measuring:  # several cases may come to an instance at once
            if instance not in self._references:
                self._references[instance] = measured({SEED: self._run_baseline(instance).end.metrics})
            return self._references[instance]

    def _comparison(self, instance: str | None) -> Comparison:
        return comparison(self._reference(instance), SEED, own=False)

    def _scored(self, end: JobExit, instance: str | None = None, *, own: bool = False) -> JobExit:
        return with_score(self._spec, self._bench.stage.name, end, SEED, self._reference(instance), own=own)

    def _all(self, items: Sequence[Item], work: Callable[[Item], End]) -> list[End]:
        """Do something with each, several at once, and say how far it is."""
        with ThreadPoolExecutor(self._at_once) as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                for count, _ in enumerate(as_completed(futures), start=1):
                    if count % PROGRESS_EVERY == 0 or count == len(futures):
                        self._progress(f"{count} of {len(futures)} cases")
                return [future.result() for future in futures]
            except BaseException:
                _cancel(futures)
                self._bench.stop()
                raise


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()


def _missing(grant: Grant) -> Iterator[Line]:
    missing = [package for package, version in grant.interpreter.versions.items() if version == "missing"]
    if missing:
        text = f"{grant.interpreter.executable} lacks {', '.join(missing)}"
        yield Line("requirements", "warning", text)
