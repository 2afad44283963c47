"""The tools as the client sees them: names, annotations, and which are always loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations
from pydantic import ValidationError

from ..evolution.text import inert
from .analysis import AnalysisTools
from .campaigns import CampaignTools
from .experiments import ExperimentTools
from .inspection import InspectionTools
from .judgement import JudgementTools
from .knowledge import KnowledgeTools
from .laboratory import Laboratory
from .sampling import SamplingTools
from .search import SearchTools
from .wrong_arguments import invalid, unknown

ALWAYS_LOAD = {"anthropic/alwaysLoad": True}
"""Claude Code shows the model this tool in full from the start, not only its name."""
LARGE_RESULT = {"anthropic/maxResultSizeChars": 60_000}
"""Raises Claude Code's cap on a result, for the one tool that returns whole programs."""


class _Tool(Tool):
    """Answers wrong arguments in our words, and every refusal without the SDK's preface."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Called by the SDK."""
        if wrong := list(self._wrong(arguments)):
            raise ToolError(inert("\n".join(wrong[:10])))
        try:
            return await super().run(arguments, context, convert_result)
        except UnexpectedToolError:
            raise
        except ToolError as error:
            raise ToolError(str(error.__cause__ or error)) from error.__cause__

    def _wrong(self, arguments: dict[str, Any]) -> Iterator[str]:
        yield from unknown(self.name, arguments, list(self.fn_metadata.arg_model.model_fields))
        try:
            self.fn_metadata.validate_arguments(arguments)
        except ValidationError as error:
            yield from invalid(error, self.parameters)


@dataclass(frozen=True)
class ToolEntry:
    """One tool. Every annotation is explicit: clients decide by them what to ask the user about."""

    function: Callable[..., Any]
    title: str
    read_only: bool
    idempotent: bool
    destructive: bool = False
    open_world: bool = False
    """Whether it can reach beyond this machine."""
    meta: dict[str, Any] | None = None

    def tool(self) -> Tool:
        """It, as the SDK takes it."""
        tool = _Tool.from_function(
            self.function,
            title=self.title,
            description=" ".join(cleandoc(self.function.__doc__ or "").split()),
            annotations=ToolAnnotations(
                title=self.title,
                read_only_hint=self.read_only,
                destructive_hint=self.destructive,
                idempotent_hint=self.idempotent,
                open_world_hint=self.open_world,
            ),
            meta=self.meta,
            structured_output=False,
        )
        tool.parameters["additionalProperties"] = False
        return tool


def tool_entries(laboratory: Laboratory) -> list[ToolEntry]:
    """Every tool, in the order in which a campaign needs them."""
    on_campaigns, on_knowledge = CampaignTools(laboratory), KnowledgeTools(laboratory)
    on_search, on_experiments = SearchTools(laboratory), ExperimentTools(laboratory)
    on_sampling, on_inspection = SamplingTools(laboratory), InspectionTools(laboratory)
    on_analysis = AnalysisTools(laboratory)
    return [
        ToolEntry(on_campaigns.list_domains, "List domains", read_only=True, idempotent=True),
        ToolEntry(on_campaigns.start_campaign, "Start a campaign", read_only=False, idempotent=False),
        ToolEntry(on_campaigns.campaign_status, "Campaign status", read_only=True, idempotent=True),
        ToolEntry(on_campaigns.update_campaign, "Change a campaign", read_only=False, idempotent=True),
        ToolEntry(on_sampling.sample_nodes, "Sample nodes", read_only=False, idempotent=False, meta=ALWAYS_LOAD),
        ToolEntry(on_knowledge.search_cognition, "Search cognition", read_only=True, idempotent=True, meta=ALWAYS_LOAD),
        ToolEntry(on_knowledge.add_cognition, "Add cognition", read_only=False, idempotent=True, open_world=True),
        ToolEntry(
            on_experiments.run_experiment, "Run an experiment", read_only=False, idempotent=False, meta=ALWAYS_LOAD
        ),
        ToolEntry(on_experiments.wait_experiment, "Wait for experiments", read_only=True, idempotent=True),
        ToolEntry(
            on_experiments.cancel_experiment, "Cancel an experiment", read_only=False, idempotent=True, destructive=True
        ),
        ToolEntry(on_inspection.get_node, "Get a node", read_only=True, idempotent=True, meta=LARGE_RESULT),
        ToolEntry(on_search.search_nodes, "Search nodes", read_only=True, idempotent=True),
        ToolEntry(on_inspection.compare_nodes, "Compare nodes", read_only=True, idempotent=True),
        ToolEntry(
            on_analysis.record_analysis, "Record an analysis", read_only=False, idempotent=False, meta=ALWAYS_LOAD
        ),
        ToolEntry(
            JudgementTools(laboratory).record_judgement,
            "Record a judgement",
            read_only=False,
            idempotent=False,
            open_world=True,
        ),
        ToolEntry(on_experiments.promote_node, "Promote a node", read_only=False, idempotent=False),
    ]
