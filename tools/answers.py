"""How answers look: compact, short ids, no nulls, numbers with as many digits as matter."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent

from ..evolution.errors import EvolveError
from ..evolution.ids import short_id
from ..evolution.models import CognitionItem, Evaluation, Experiment, Lesson, Node
from ..evolution.outcomes import ExperimentStatus, Outcome
from ..evolution.text import excerpt

Detail = Literal["concise", "full"]
Answer = CallToolResult

P = ParamSpec("P")
R = TypeVar("R")


def anticipated(tool: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Let the text of anticipated failures reach the model; anything else is a bug and stays in the server's log."""

    @functools.wraps(tool)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await tool(*args, **kwargs)
        except EvolveError as error:
            raise ToolError(str(error)) from error
        except OSError as error:
            raise ToolError(f"The server could not use a file: {error}. Nothing was stored.") from error
        except UnicodeEncodeError as error:
            raise ToolError("Expected text, but an argument holds lone surrogates. Nothing was stored.") from error

    return call


def answer(**fields: Any) -> Answer:
    """A structured answer; fields that are `None` are left out. Clients show the structured form, old ones the text."""
    structured = {name: value for name, value in fields.items() if value is not None}
    text = json.dumps(structured, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured)


def page(title: str, text: str, offset: int, limit: int) -> Answer:
    """Part of a long text, as plain text: clients would show a structured one with every newline escaped."""
    if offset > len(text):
        raise ToolError(f"Expected offset to be at most {len(text)}, the length of {title}, but got {offset}.")
    part = text[offset : offset + limit]
    end = offset + len(part)
    more = f"; next_offset={end}" if end < len(text) else ""
    head = f"[{title}: characters {offset} to {end} of {len(text)}{more}]"
    return CallToolResult(content=[TextContent(type="text", text=f"{head}\n{part}")])


def number(value: float) -> float:
    """Twelve significant digits, short enough to read. Scores are never rounded: one could pass a bound that way."""
    return float(f"{value:.12g}")


def numbers(values: Mapping[str, float]) -> dict[str, float]:
    """Metrics, rounded for reading."""
    return {name: number(value) for name, value in values.items()}


def ids(kind: Literal["c", "n", "e", "k", "l", "a"], values: Sequence[int]) -> list[str]:
    """Short ids."""
    return [short_id(kind, value) for value in values]


def without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def node_line(node: Node) -> dict[str, Any]:
    """A node in a list."""
    return without_none(
        {
            "id": short_id("n", node.id),
            "name": node.name,
            "score": node.score,
            "standard_error": number(node.score_stderr) if node.score_stderr is not None else None,
            "seeds": node.score_seeds if node.score_seeds > 1 else None,
            "metric_score": node.judging.metric if node.judging is not None else None,
            "unjudged": node.unjudged or None,
            "outcome": str(node.outcome) if node.outcome is not None else None,
            "status": str(node.status) if node.status is not ExperimentStatus.FINISHED else None,
            "parents": ids("n", node.parents) or None,
            "visits": node.visits or None,
            "baseline": True if node.is_baseline else None,
        }
    )


def node_score_fields(node: Node) -> dict[str, Any]:
    """The score of a node beside that of one of its experiments, where judges make a difference."""
    if node.judging is None:
        return {}
    return without_none({"node_score": node.score, "unjudged": node.unjudged or None})


def compared_fields(node: Node) -> dict[str, Any]:
    """A node that the result of an experiment is compared with: what its own runs scored, and its score."""
    return {"node": short_id("n", node.id), "score": node.metric_score} | node_score_fields(node)


def evaluation_fields(evaluation: Evaluation) -> dict[str, Any]:
    """One run: outcome, numbers and what it took."""
    usage = evaluation.usage
    limit = evaluation.limit
    return without_none(
        {
            "stage": evaluation.stage,
            "seed": evaluation.seed,
            "outcome": str(evaluation.outcome),
            "reason": excerpt(evaluation.reason, 600) or None,
            "score": evaluation.score,
            "stopped_early": evaluation.environment.get("stopped_early"),
            "cached_from": _cached_from(evaluation),
            "metrics": numbers(evaluation.metrics) or None,
            "limit": f"{limit.name}: used {limit.used:.4g} of {limit.allowed:.4g} {limit.unit}" if limit else None,
            "cpu_s": round(usage.cpu_seconds, 2),
            "wall_s": round(usage.wall_seconds, 2),
            "gpu_s": round(usage.gpu_seconds, 2) or None,
            "memory_mb": round(usage.peak_memory_mb, 1),
        }
    )


def run_fields(evaluation: Evaluation, experiment: Experiment) -> dict[str, Any]:
    """One run, and whether its score counts for the node."""
    held = experiment.quarantine is not None and experiment.outcome is not Outcome.SCORED
    if not held or evaluation.score is None:
        return evaluation_fields(evaluation)
    finished = experiment.status is ExperimentStatus.FINISHED
    return evaluation_fields(evaluation) | {"counts": "no: refused" if finished else "no: quarantined"}


def seed_line(evaluation: Evaluation) -> dict[str, Any]:
    """One of many runs."""
    return without_none(
        {
            "stage": evaluation.stage,
            "seed": evaluation.seed,
            "outcome": str(evaluation.outcome),
            "score": evaluation.score,
            "cached_from": _cached_from(evaluation),
        }
    )


def _cached_from(evaluation: Evaluation) -> str | None:
    return short_id("e", evaluation.cached_from) if evaluation.cached_from is not None else None


def experiment_line(experiment: Experiment, reason_limit: int = 1200) -> dict[str, Any]:
    """An experiment in a list."""
    return without_none(
        {
            "experiment": short_id("e", experiment.id),
            "node": short_id("n", experiment.node_id),
            "status": str(experiment.status),
            "outcome": str(experiment.outcome) if experiment.outcome is not None else None,
            "stage": experiment.current_stage or experiment.stage,
            "score": experiment.score,
            "quarantine": experiment.quarantine.cause if experiment.quarantine is not None else None,
            "reason": excerpt(experiment.reason, reason_limit) or None,
        }
    )


def cognition_fields(item: CognitionItem, limit: int) -> dict[str, Any]:
    """A cognition item with its body cut to `limit` characters."""
    return without_none(
        {
            "id": short_id("k", item.id),
            "title": item.title,
            "body": excerpt(item.body, limit),
            "symptom": excerpt(item.symptom, max(limit // 2, 1)) or None,
            "source": item.source,
            "more_sources": list(item.more_sources) or None,
            "tags": list(item.tags) or None,
            "origin": str(item.origin),
        }
    )


def lesson_fields(lesson: Lesson, limit: int = 500) -> dict[str, Any]:
    """A lesson with the node that taught it."""
    return {
        "id": short_id("l", lesson.id),
        "node": short_id("n", lesson.node_id),
        "text": excerpt(lesson.text, limit),
    }
