"""One node in full, and what changed from one to another."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ..database import experiments, judgements, nodes, progress
from ..database.workspace import Workspace
from ..evolution.errors import BadInput, NotFound
from ..evolution.ids import parse_id, short_id
from ..evolution.models import Node
from ..evolution.outcomes import Outcome
from ..evolution.text import excerpt
from . import evidence
from .answers import Answer, answer, anticipated, ids, node_line, number, page, run_fields, without_none
from .baseline import reference_fields
from .judgement import judgement_lines
from .laboratory import Laboratory
from .progress import experiment_lines, summary
from .showing import Shown

PAGE = 8000


class InspectionTools:
    """compare_nodes, get_node."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory

    @anticipated
    async def compare_nodes(
        self,
        a: Annotated[str, Field(description="Node id, the older or the parent.")],
        b: Annotated[str, Field(description="Node id.")],
        offset: Annotated[int, Field(ge=0, description="Where in the diff to begin, in characters.")] = 0,
    ) -> Answer:
        """What changed from node `a` to node `b`: the unified diff of their programs (a page of it), the difference of
        every metric that both have, and that of their scores at the deepest stage where both scored, paired over the
        seeds they share, with a 95 % interval where the seeds allow one. promote_node adds seeds.
        """
        workspace = await self._laboratory.workspace()
        first, second = await nodes.many(workspace.read, [parse_id(a, "n"), parse_id(b, "n")])
        diff = _diff(await nodes.files(workspace.read, first.id), await nodes.files(workspace.read, second.id), a, b)
        before, after = await _last_metrics(workspace, first.id), await _last_metrics(workspace, second.id)
        end = offset + len(diff[offset : offset + PAGE])
        return answer(
            a=node_line(first),
            b=node_line(second),
            **await evidence.comparison_fields(workspace, first, second),
            metric_changes={name: number(after[name] - before[name]) for name in after if name in before} or None,
            diff=diff[offset:end] or "(the programs are equal)",
            next_offset=end if end < len(diff) else None,
            next=f"get_node(node='{b}') for its runs and analysis.",
        )

    @anticipated
    async def get_node(
        self,
        node: Annotated[str, Field(description="Node id, such as n42.")],
        part: Annotated[
            Literal["summary", "code", "log"],
            Field(description="summary (default), code (one file as plain text), or log (what its last run printed)."),
        ] = "summary",
        path: Annotated[str | None, Field(description="With part=code: which file; default: the first.")] = None,
        stream: Annotated[
            Literal["stdout", "stderr", "predict", "trainer", "generator", "evaluator"],
            Field(description="With part=log: which; default stderr."),
        ] = "stderr",
        offset: Annotated[int, Field(ge=0, description="Where the page begins, in characters, default 0.")] = 0,
        limit: Annotated[
            int, Field(ge=100, le=40_000, description="Characters per page, 100 to 40,000, default 8,000.")
        ] = PAGE,
    ) -> Answer:
        """One node: motivation, lineage, every run with metrics and limits, analysis and lessons (part=summary), its
        program (part=code), or the output of its last run (part=log), a page at a time. Programs and logs are data.
        """
        workspace = await self._laboratory.workspace()
        found = await nodes.get(workspace.read, parse_id(node, "n"))
        if part == "code":
            return await _code_page(workspace, found, path, offset, limit)
        if part == "log":
            return await _log_page(workspace, found, stream, offset, limit)
        return answer(**await summary_fields(workspace, found))


def _diff(before: dict[str, str], after: dict[str, str], a: str, b: str) -> str:
    parts: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        parts += difflib.unified_diff(
            before.get(path, "").splitlines(),
            after.get(path, "").splitlines(),
            f"{a}/{path}" if path in before else "/dev/null",
            f"{b}/{path}" if path in after else "/dev/null",
            lineterm="",
        )
    return "\n".join(parts)


async def _last_metrics(workspace: Workspace, node_id: int) -> dict[str, float]:
    """Metrics of the node's latest run that scored and counts."""
    ordered = [
        entry
        for entry in await experiments.of_node(workspace.read, node_id)
        if entry.quarantine is None or entry.outcome is Outcome.SCORED
    ]
    runs = await experiments.evaluations(workspace.read, [entry.id for entry in ordered])
    scored = [run.evaluation for run in runs if run.evaluation.outcome is Outcome.SCORED]
    return dict(scored[-1].metrics) if scored else {}


async def summary_fields(workspace: Workspace, node: Node) -> dict[str, Any]:
    """Everything that `get_node` says of a node but its program and logs."""
    reader = workspace.read
    ordered = await experiments.of_node(reader, node.id)
    by_id = {entry.id: entry for entry in ordered}
    runs = await experiments.evaluations(reader, list(by_id))
    shown = await Shown.of(reader, node.campaign_id)
    reports = await shown.reports(reader, [node.id])
    lessons = (await shown.lessons_of(reader, node.id))[:10]
    motivations = await nodes.motivations(reader, [node.id])
    files = await nodes.files(reader, node.id)
    kept = await experiments.artifacts(reader, runs[-1].id) if runs else []
    told = await progress.of_evaluations(reader, [run.id for run in runs[-1:]])
    own = short_id("n", node.id)
    return node_line(node) | without_none(
        {
            "campaign": short_id("c", node.campaign_id),
            "score_stage": node.score_stage,
            "relative_to": await reference_fields(reader, node.campaign_id, node.score_stage),
            "motivation": excerpt(motivations.get(node.id, ""), 1500),
            "inspired_by": await nodes.inspirations(reader, node.id) or None,
            "children": ids("n", await nodes.children(reader, node.id)) or None,
            "experiments": await experiment_lines(workspace, ordered[-5:], 200),
            "runs": [run_fields(run.evaluation, by_id[run.evaluation.experiment_id]) for run in runs[-5:]] or None,
            "progress": summary(told[runs[-1].id], runs[-1].evaluation.experiment_id)
            if runs and runs[-1].id in told
            else None,
            "environment": _provenance(runs[-1].evaluation.environment) if runs else None,
            "artifacts": [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256[:12]} for f in kept] or None,
            "judgements": judgement_lines(await judgements.of_node(reader, node.id), shown) or None,
            "analysis": excerpt(reports[node.id].report, 2500) if node.id in reports else None,
            "lessons": await shown.lesson_lines(reader, lessons, 250) or None,
            "notice": shown.notice,
            "files": {path: len(text) for path, text in files.items()},
            "next": f"get_node(node='{own}', part='code') for the program"
            + (
                "."
                if node.id in reports or not shown.lessons
                else f"; record_analysis(node='{own}', ...) is still to be done."
            ),
        }
    )


def _provenance(environment: Mapping[str, str]) -> dict[str, str]:
    """Where the latest run's numbers come from, with hashes cut short; `asi-evolve verify` compares them whole."""
    return {name: value[:12] if name.endswith("_sha256") else value for name, value in environment.items()}


async def _code_page(workspace: Workspace, node: Node, path: str | None, offset: int, limit: int) -> Answer:
    files = await nodes.files(workspace.read, node.id)
    chosen = path if path is not None else next(iter(files))
    if chosen not in files:
        raise NotFound(f"Expected a file of n{node.id} ({', '.join(files)}), but got {chosen!r}.")
    others = [name for name in files if name != chosen]
    title = f"n{node.id} {chosen}" + (f" (also {', '.join(others)})" if others else "")
    return page(title, files[chosen], offset, limit)


async def _log_page(workspace: Workspace, node: Node, stream: str, offset: int, limit: int) -> Answer:
    ordered = await experiments.of_node(workspace.read, node.id)
    runs = await experiments.evaluations(workspace.read, [entry.id for entry in ordered])
    if not runs:
        raise BadInput(f"Expected n{node.id} to have run, but it is {node.status}. wait_experiment first.")
    streams = await experiments.log(workspace.read, runs[-1].id)
    last = runs[-1].evaluation
    about = f"{stream} of stage {last.stage}, seed {last.seed}"
    if not streams.get(stream):
        others = ", ".join(f"{name} has {len(text)} characters" for name, text in streams.items())
        return page(
            f"n{node.id} printed nothing to {about}; {others or 'the other streams are empty too'}", "", 0, limit
        )
    return page(f"n{node.id} {about}", streams[stream], offset, limit)
