"""Completions: ids and names while a user types a prompt's argument or a resource's address."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from ..database import campaigns, experiments, nodes
from ..database.connection import Reader
from ..domains.loader import domain_names
from ..evolution.errors import EvolveError
from ..evolution.ids import split_id
from ..tools.answers import ids
from ..tools.laboratory import Laboratory

MAX_VALUES = 100


def add_completions(server: MCPServer[Any], laboratory: Laboratory) -> None:
    """Register the completion handler."""

    async def complete(
        reference: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        given = (context.arguments if context is not None else None) or {}
        values = await _values(laboratory, reference, argument.name, given)
        fitting = [value for value in values if value.startswith(argument.value)]
        return Completion(
            values=fitting[:MAX_VALUES], total=len(fitting), has_more=True if len(fitting) > MAX_VALUES else None
        )

    server.completion()(complete)


async def _values(
    laboratory: Laboratory,
    reference: PromptReference | ResourceTemplateReference,
    argument: str,
    given: dict[str, str],
) -> list[str]:
    kind = _kind_of(reference, argument)
    if kind == "domain":
        return sorted(domain_names())
    reader = (await laboratory.workspace()).read
    if kind == "path":
        return await _paths(reader, given.get("id", ""))
    if kind == "campaign":
        return ids("c", [entry.id for entry in await campaigns.recent(reader, MAX_VALUES)])
    if kind == "node":
        return ids("n", await nodes.recent_ids(reader, MAX_VALUES))
    if kind == "experiment":
        return ids("e", await experiments.recent_ids(reader, MAX_VALUES))
    return []


def _kind_of(reference: PromptReference | ResourceTemplateReference, argument: str) -> str:
    if isinstance(reference, PromptReference) or argument != "id":
        return {"name": "domain"}.get(argument, argument)
    # evolve://nodes/{id}/... -> node
    return reference.uri.removeprefix("evolve://").split("/")[0].removesuffix("s")


async def _paths(reader: Reader, node: str) -> list[str]:
    try:
        kind, number = split_id(node)
    except EvolveError:
        return []
    return list(await nodes.files(reader, number)) if kind == "n" else []
