"""Ordering experiments, waiting for them, ending them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from pydantic import Field

from ..database import campaigns, experiments, nodes
from ..database.connection import Transaction
from ..database.workspace import Workspace
from ..domains.loader import Domain, find_domain
from ..domains.stages import Stage
from ..evolution.errors import BadInput, NotFound
from ..evolution.ids import parse_id, short_id
from ..evolution.models import Campaign, Experiment, Node
from ..evolution.outcomes import ExperimentStatus, Outcome
from ..evolution.text import accepted
from . import evidence, novelty
from .answers import Answer, answer, anticipated, compared_fields, experiment_line, ids, run_fields, seed_line
from .baseline import reference_fields
from .campaigns import refuse_over_budget
from .candidates import Candidate, Program, checked
from .laboratory import Laboratory
from .progress import experiment_lines, whereabouts
from .showing import Shown

MAX_WAIT_S = 45.0
"""Clients cut a call at 60 to 300 s of wall time, and progress does not extend that."""
TELLING_STREAMS: dict[Outcome | None, tuple[str, ...]] = {
    Outcome.CANDIDATE_ERROR: ("predict", "stderr"),
    Outcome.INFRASTRUCTURE_ERROR: ("evaluator", "trainer", "generator"),
}
"""Where more is said of why an experiment failed: in the log of the last program that ran."""
LOG_TAIL = 1500
RUNS_IN_FULL = 6
"""More runs than these are listed by seed and score alone; get_node shows the latest in full."""
PROGRESS_EVERY_S = 2.0
LEAST_PROGRESS = 1e-6

WaitSeconds = Annotated[float, Field(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the result, 0 to 45.")]


class ExperimentTools:
    """run_experiment, wait_experiment, cancel_experiment, promote_node."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory

    @anticipated
    async def run_experiment(
        self,
        context: Context[Any, Any],
        campaign: Annotated[str, Field(description="Campaign id.")],
        name: Annotated[str, Field(description="Short name of the candidate, at most 80 characters.")],
        motivation: Annotated[
            str, Field(description="Why this should beat its parent: the idea and what it builds on.")
        ],
        code: Annotated[str | None, Field(description="The whole program, for a one-file domain.")] = None,
        files: Annotated[dict[str, str] | None, Field(description="The whole program, path to text.")] = None,
        edits: Annotated[
            str | None,
            Field(
                description="SEARCH/REPLACE blocks on the first parent: <<<<<<< SEARCH, old lines, =======, new lines, "
                ">>>>>>> REPLACE; the old lines, quoted whole, must occur exactly once."
            ),
        ] = None,
        parents: Annotated[list[str], Field(description="Node ids this builds on, the edited one first.")] = [],  # noqa: B006 -- pydantic copies it
        inspired_by: Annotated[
            list[str], Field(description="Ids of cognition items (k9), lessons (l3) or nodes (n7) it draws on.")
        ] = [],  # noqa: B006
        stage: Annotated[str | None, Field(description="Stage to aim at; default: the domain's.")] = None,
        seeds: Annotated[
            int | None,
            Field(ge=1, le=64, description="Evaluation seeds at that stage, 1 to 64; default: the campaign's."),
        ] = None,
        idempotency_key: Annotated[
            str | None, Field(description="The same key again returns the same experiment instead of a second one.")
        ] = None,
        wait_s: WaitSeconds = 20.0,
    ) -> Answer:
        """Evaluate a candidate in the sandbox. Give exactly one of `code`, `files`, `edits`. It is checked at once
        (form, syntax, required names, the same program in this campaign), then stored as a node and queued; `novelty`
        tells which nodes it nearly equals and how they ended. Cheap stages run first and end a bad candidate early.
        Returns the result if it comes within `wait_s` (default 20), else a handle for wait_experiment. The experiment
        goes on whatever happens to this call or to the server. Only outcome `scored` has a score; every other outcome
        says what went wrong. A score above what is proven possible, or far above all others, is held (status
        `quarantined`) until runs with other seeds confirm it.
        """
        workspace = await self._laboratory.workspace()
        chosen = await campaigns.get(workspace.read, parse_id(campaign, "c"))
        if idempotency_key is not None:
            idempotency_key = accepted(idempotency_key, "idempotency_key", limit=200)
            known = await experiments.with_key(workspace.read, chosen.id, idempotency_key)
            if known is not None:
                return await self._outcome(context, workspace, known.id, wait_s, repeated=True)
        domain = find_domain(chosen.domain)
        target = _target_stage(domain, stage)
        program = Program(code, files, edits)
        candidate = await checked(workspace.read, chosen, domain, name, motivation, program, parents, inspired_by)
        seen = await novelty.search(workspace, chosen, candidate, domain.spec.candidate.must_define)
        async with workspace.transaction() as tx:
            count = seeds or _usual_seeds(target, chosen)
            experiment_id, twins = await _store(tx, chosen, candidate, seen, target, count, idempotency_key)
        told = await novelty.notice(workspace.read, chosen, twins)
        return await self._outcome(context, workspace, experiment_id, wait_s, told=told)

    @anticipated
    async def wait_experiment(
        self,
        context: Context[Any, Any],
        experiments: Annotated[list[str], Field(description="Experiment ids, such as ['e17'], 1 to 20.")],
        mode: Annotated[Literal["any", "all"], Field(description="Return when any or all (default) finished.")] = "all",
        wait_s: WaitSeconds = 25.0,
    ) -> Answer:
        """Wait for experiments, at most `wait_s` seconds (default 25, 0 to just look), and return their results so far.
        Call it again while some are unfinished; they run on meanwhile.
        """
        if not 1 <= len(experiments) <= 20:
            raise BadInput(f"Expected 1 to 20 experiment ids, but got {len(experiments)}.")
        workspace = await self._laboratory.workspace()
        numbers = list(dict.fromkeys(parse_id(experiment, "e") for experiment in experiments))
        found = await self._wait(context, numbers, wait_s, all_of_them=mode == "all")
        if len(found) == 1:
            return answer(**await result_fields(workspace, found[0]), warning=self._warning(found))
        unfinished = [entry.id for entry in found if entry.status is not ExperimentStatus.FINISHED]
        finished = [entry for entry in found if entry.status is ExperimentStatus.FINISHED]
        return answer(
            experiments=await experiment_lines(workspace, found, 1200 if len(found) <= 5 else 250),
            warning=self._warning(found),
            next=f"wait_experiment(experiments={ids('e', unfinished)})."
            if unfinished
            else f"get_node for details, then record_analysis for each: {ids('n', [e.node_id for e in finished])}.",
        )

    @anticipated
    async def cancel_experiment(
        self, experiment: Annotated[str, Field(description="Experiment id, such as e17.")]
    ) -> Answer:
        """End an experiment: one in the queue at once, a running one within seconds. Cancelling never counts against
        the candidate, and promote_node can run it again. A finished experiment stays as it is.
        """
        workspace = await self._laboratory.workspace()
        number_ = parse_id(experiment, "e")
        async with workspace.transaction() as tx:
            before = await experiments.get(tx, number_)
            after = await experiments.cancel(tx, number_)
        if before.status is ExperimentStatus.FINISHED:
            return answer(**experiment_line(after), next="It had finished already; nothing was changed.")
        if after.status is not ExperimentStatus.FINISHED:
            after = (await self._laboratory.wait([number_], 15.0))[0]
        return answer(**experiment_line(after), next="campaign_status shows what else runs.")

    @anticipated
    async def promote_node(
        self,
        context: Context[Any, Any],
        node: Annotated[str, Field(description="Node id.")],
        stage: Annotated[str | None, Field(description="Stage to run; default: where it scored last.")] = None,
        seeds: Annotated[
            int | None, Field(ge=1, le=64, description="How many seeds, 1 to 64; default: the stage's.")
        ] = None,
        wait_s: WaitSeconds = 20.0,
    ) -> Answer:
        """Evaluate a node again: at a dearer stage (such as verify), or with more seeds where it scored, so that a
        lucky score is found out. Also the way to retry an experiment that was lost, cancelled, or ended in an
        infrastructure error. Seeds that a stage has scored are not used twice there; those of the parent, the baseline
        and the best node come first, so that differences are over shared seeds.
        """
        workspace = await self._laboratory.workspace()
        subject = await nodes.get(workspace.read, parse_id(node, "n"))
        chosen = await campaigns.get(workspace.read, subject.campaign_id)
        domain = find_domain(chosen.domain)
        target = _target_stage(domain, stage or subject.score_stage)
        async with workspace.transaction() as tx:
            subject = await nodes.get(tx, subject.id)  # another agent may have been faster
            if subject.status is not ExperimentStatus.FINISHED:
                raise BadInput(f"Expected {node} to be finished, but it is {subject.status}. Wait for it first.")
            await refuse_over_budget(tx, chosen)
            count = seeds or _usual_seeds(target, chosen)
            fresh = await evidence.seeds_to_pair(tx, chosen, subject, target.name, count)
            experiment_id = await experiments.enqueue(
                tx, campaign_id=chosen.id, node_id=subject.id, stage=target.name, seeds=fresh
            )
        return await self._outcome(context, workspace, experiment_id, wait_s)

    async def _outcome(
        self,
        context: Context[Any, Any],
        workspace: Workspace,
        number_: int,
        wait_s: float,
        *,
        repeated: bool = False,
        told: dict[str, Any] | None = None,
    ) -> Answer:
        found = await self._wait(context, [number_], wait_s, all_of_them=True)
        fields = await result_fields(workspace, found[0])
        return answer(repeated=True if repeated else None, novelty=told, **fields, warning=self._warning(found))

    def _warning(self, found: Sequence[Experiment]) -> str | None:
        """Why waiting on will not help, if so."""
        if all(entry.status is ExperimentStatus.FINISHED for entry in found):
            return None
        return self._laboratory.engineer_trouble()

    async def _wait(
        self, context: Context[Any, Any], numbers: Sequence[int], wait_s: float, *, all_of_them: bool
    ) -> list[Experiment]:
        """Wait in slices, and after each tell the client how many of the experiments are done and where they are."""
        begin = time.monotonic()
        told = 0.0
        while True:
            left = wait_s - (time.monotonic() - begin)
            found = await self._laboratory.wait(numbers, max(min(left, PROGRESS_EVERY_S), 0.0), all_of_them=all_of_them)
            done = sum(entry.status is ExperimentStatus.FINISHED for entry in found)
            left = wait_s - (time.monotonic() - begin)
            if done == len(found) or (done and not all_of_them) or left <= 0:
                return found
            part, states = await whereabouts(await self._laboratory.workspace(), found)
            told = max(part, told + LEAST_PROGRESS)  # the protocol wants it to rise with every message
            await context.report_progress(told, len(found), states)


async def result_fields(workspace: Workspace, experiment: Experiment) -> dict[str, Any]:
    """An experiment with its runs, the parent's score to compare with, and what to do next."""
    (fields,) = await experiment_lines(workspace, [experiment])
    if experiment.status is not ExperimentStatus.FINISHED:
        handle = short_id("e", experiment.id)
        return fields | {"next": f"It goes on without you. wait_experiment(experiments=['{handle}'])."}
    runs = await experiments.evaluations(workspace.read, [experiment.id])
    fields["runs"] = [
        _without_repeated_reason(run_fields(run.evaluation, experiment), experiment)
        if len(runs) <= RUNS_IN_FULL
        else seed_line(run.evaluation)
        for run in runs
    ]
    node = await nodes.get(workspace.read, experiment.node_id)
    if node.parents:
        parent = await nodes.get(workspace.read, node.parents[0])
        if parent.metric_score is not None:
            fields["parent"] = compared_fields(parent)
            if experiment.score is not None and runs:
                fields |= await evidence.gain_fields(workspace, parent, node, runs[-1].evaluation.stage)
            fields["node_gain"] = evidence.gain_of_judged(parent, node)
    if experiment.score is not None and runs:
        stage = runs[-1].evaluation.stage
        fields["relative_to"] = await reference_fields(workspace.read, node.campaign_id, stage)
    best = await nodes.listed(workspace.read, node.campaign_id, limit=1)
    if best and best[0].score is not None:
        fields["best"] = compared_fields(best[0])
        if best[0].id == node.id and (noise := await evidence.noise_of_best(workspace, node.campaign_id)) is not None:
            fields["best"]["noise"] = noise
    if runs:
        log = await experiments.log(workspace.read, runs[-1].id)
        stream = next((stream for stream in TELLING_STREAMS.get(experiment.outcome, ()) if log.get(stream)), None)
        if stream is not None:
            fields[f"{stream}_tail"] = log[stream][-LOG_TAIL:]
    shown = await Shown.of(workspace.read, node.campaign_id)
    analysed = bool(await shown.reports(workspace.read, [node.id]))
    fields["next"] = _after(experiment, node, analyse=shown.lessons and not node.is_baseline and not analysed)
    return {name: value for name, value in fields.items() if value is not None}


def _without_repeated_reason(run: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    repeated = run.get("reason", "").removesuffix("…") in experiment.reason
    return {name: value for name, value in run.items() if name != "reason" or not repeated}


def _after(experiment: Experiment, node: Node, *, analyse: bool) -> str:
    own = short_id("n", node.id)
    if experiment.outcome is not None and not experiment.outcome.counts_against_candidate:
        again = f"promote_node(node='{own}', stage='{experiment.stage}')"
        return f"Not the candidate's fault. Mend the cause, then {again} runs it again."
    if node.unjudged:
        then = f", and record_analysis(node='{own}', report=..., lessons=[...])" if analyse else ""
        return f"record_judgement(node='{own}', ...) by the domain's rubric{then}."
    if not analyse:
        return f"sample_nodes(campaign='{short_id('c', experiment.campaign_id)}')."
    return f"record_analysis(node='{own}', report=..., lessons=[...]): why did it come out like this?"


def _target_stage(domain: Domain, name: str | None) -> Stage:
    stage = domain.spec.stage(name or domain.spec.default_stage)
    if stage is None:
        names = ", ".join(entry.name for entry in domain.spec.stages)
        raise NotFound(f"Expected a stage of domain {domain.name} ({names}), but got {name!r}.")
    return stage


def _usual_seeds(stage: Stage, campaign: Campaign) -> int:
    """How many seeds a stage runs with where the caller names no number."""
    return stage.seeds if stage.on_request else campaign.settings.seeds


async def _store(
    tx: Transaction,
    campaign: Campaign,
    candidate: Candidate,
    seen: novelty.Seen,
    stage: Stage,
    seeds: int,
    idempotency_key: str | None,
) -> tuple[int, list[novelty.Twin]]:
    """Node and experiment, in one transaction with the checks that other agents could overtake."""
    if idempotency_key is not None:
        known = await experiments.with_key(tx, campaign.id, idempotency_key)
        if known is not None:
            return known.id, []
    await refuse_over_budget(tx, campaign)
    policy = (await campaigns.get(tx, campaign.id)).settings.novelty
    twins = await novelty.judged(tx, campaign, policy, candidate, seen)
    node_id = await nodes.add(
        tx,
        nodes.NewNode(
            campaign_id=campaign.id,
            name=candidate.name,
            motivation=candidate.motivation,
            files=candidate.files,
            fingerprint=candidate.fingerprint,
            profile=candidate.profile,
            parents=candidate.parents,
            inspired_by=candidate.inspired_by,
        ),
    )
    base = campaign.settings.seed
    experiment_id = await experiments.enqueue(
        tx,
        campaign_id=campaign.id,
        node_id=node_id,
        stage=stage.name,
        seeds=range(base, base + seeds),
        idempotency_key=idempotency_key,
    )
    return experiment_id, twins
