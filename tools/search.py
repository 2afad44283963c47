"""Finding nodes: the leaderboard, failures, and what was tried before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from ..database import campaigns, nodes
from ..database.nodes import Order
from ..database.workspace import Workspace
from ..evolution.errors import BadInput
from ..evolution.ids import parse_id
from ..evolution.models import Node
from ..evolution.outcomes import ExperimentStatus, Outcome
from ..evolution.text import accepted
from . import evidence
from .answers import Answer, answer, anticipated
from .laboratory import Laboratory
from .leaderboards import found_lines, leaderboards, refuse_unlike_scores
from .recall import THRESHOLD
from .scopes import SCOPE, Outlook, Scope, comparable, outlook
from .showing import Shown


class SearchTools:
    """search_nodes."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory

    @anticipated
    async def search_nodes(
        self,
        campaign: Annotated[str, Field(description="Campaign id.")],
        query: Annotated[str, Field(description="Words to find in motivations and analyses; empty: all nodes.")] = "",
        outcome: Annotated[
            str | None,
            Field(description="Only nodes that are queued, running, quarantined, or ended so: scored, limit, ..."),
        ] = None,
        sort: Annotated[
            Literal["relevance", "best", "newest", "oldest"] | None,
            Field(
                description="relevance (default with query), best (default without: the leaderboard), newest, oldest."
            ),
        ] = None,
        scope: Annotated[Scope, Field(description=f"Where to look: {SCOPE}")] = "campaign",
        limit: Annotated[int, Field(ge=1, le=50, description="Nodes per page, 1 to 50, default 10.")] = 10,
        offset: Annotated[int, Field(ge=0, description="Where the page begins, default 0.")] = 0,
    ) -> Answer:
        """Find nodes of a campaign: the leaderboard (no query; it says whether its lead is inside the noise), failures
        (outcome=...), or what was tried before (query over motivations and analyses). Look here before you try an idea
        that somebody may have tried already. With `scope`, nodes of other campaigns are marked with their campaign;
        leaderboards are made only among campaigns of one domain, version and instance, since other scores do not
        compare.
        """
        _check_outcome(outcome)
        workspace = await self._laboratory.workspace()
        chosen = await campaigns.get(workspace.read, parse_id(campaign, "c"))
        view = await outlook(workspace.read, chosen, scope)
        shown = Shown.by(chosen.settings)
        query = accepted(query, "query", limit=4000, required=False)
        if query:
            found, total, method = await _by_words(workspace, view, shown, query, outcome, sort or "relevance")
            found = found[offset : offset + limit]
        else:
            order: Order = "best" if sort is None or sort == "relevance" else sort
            groups = comparable(view.within)
            if order == "best" and len(groups) > 1:
                return await leaderboards(workspace, view, shown, groups, outcome, limit, offset)
            numbers = [entry.id for entry in view.within]
            found = await nodes.listed_across(
                workspace.read, numbers, order=order, outcome=outcome, limit=limit, offset=offset
            )
            total = sum([await nodes.count(workspace.read, number, outcome) for number in numbers])
            method = None
        first_page = not query and sort in (None, "best", "relevance") and not outcome and not offset
        leaderboard = first_page and len(view.within) == 1
        lines = await found_lines(workspace, view, shown, found)
        end = offset + len(found)
        return answer(
            nodes=lines,
            noise=await evidence.noise_of_best(workspace, chosen.id) if leaderboard else None,
            total=total,
            method=method,
            notice=shown.notice,
            next_offset=end if end < total else None,
            next="get_node(node=...) for one in full, compare_nodes(a=..., b=...) for two."
            if lines
            else f"That was all: there are {total}, so begin at a smaller offset."
            if total
            else "Nothing fits. Fewer or other words may; without query and outcome it lists every node.",
        )


def _check_outcome(outcome: str | None) -> None:
    allowed = [*(state for state in ExperimentStatus if state is not ExperimentStatus.FINISHED), *Outcome]
    if outcome is not None and outcome not in allowed:
        raise BadInput(f"Expected outcome to be one of {', '.join(allowed)}, but got {outcome!r}.")


async def _by_words(
    workspace: Workspace,
    view: Outlook,
    shown: Shown,
    query: str,
    outcome: str | None,
    sort: Order | Literal["relevance"],
) -> tuple[list[Node], int, str]:
    """Nodes whose motivation or analysis (where analyses are shown) fits the query, at most 100, each once."""
    by_motivation = await workspace.documents.find(
        query, "motivation", campaigns=view.numbers, limit=100, threshold=THRESHOLD
    )
    relevance = {hit.ref_id: hit.score for hit in by_motivation.hits}
    for node_id, score in (await shown.by_analysis(workspace, query, view.numbers, 100, THRESHOLD)).items():
        relevance[node_id] = max(score, relevance.get(node_id, score))
    found = await nodes.many(workspace.read, list(relevance))
    if outcome is not None:
        found = [node for node in found if _has_come_to(outcome, node)]
    if sort == "best":
        refuse_unlike_scores(view, found)
    key: Callable[[Node], Any] = (
        nodes.in_order(sort) if sort != "relevance" else lambda node: (-relevance[node.id], node.id)
    )
    ordered = sorted(found, key=key)[:100]
    return ordered, len(ordered), by_motivation.method


def _has_come_to(outcome: str, node: Node) -> bool:
    """Whether a node ended so or is so far on its way, as `nodes.listed` understands it."""
    held = node.status is ExperimentStatus.QUARANTINED
    return outcome == node.status or (outcome == node.outcome and not held)
