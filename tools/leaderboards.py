"""Nodes of several campaigns in lists: marked with where they come from, and ranked only where their scores compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..database import nodes
from ..database.workspace import Workspace
from ..evolution.errors import BadInput
from ..evolution.models import Campaign, Node
from ..evolution.text import excerpt
from .answers import Answer, answer, node_line
from .scopes import Comparable, Outlook, comparable, field_fields
from .showing import Shown


def refuse_unlike_scores(view: Outlook, found: Sequence[Node]) -> None:
    """The best of nodes whose scores do not compare is nothing.

    Raises:
        BadInput: they come from several domains, versions or instances.
    """
    among = {node.campaign_id for node in found}
    groups = comparable(entry for entry in view.within if entry.id in among)
    if len(groups) > 1:
        raise BadInput(
            "Expected sort='best' among campaigns of one domain, version and instance, but what was found lies in "
            f"{len(groups)} of them, and their scores do not compare. Leave sort out, or use scope='campaign'."
        )


async def found_lines(workspace: Workspace, view: Outlook, shown: Shown, found: Sequence[Node]) -> list[dict[str, Any]]:
    """Nodes in a list, with the beginning of their analyses, marked where they come from elsewhere."""
    reports = await shown.reports(workspace.read, [node.id for node in found])
    return [
        node_line(node)
        | view.mark(node.campaign_id)
        | ({"analysis": excerpt(reports[node.id].report, 200)} if node.id in reports else {})
        for node in found
    ]


async def leaderboards(
    workspace: Workspace,
    view: Outlook,
    shown: Shown,
    groups: Mapping[Comparable, Sequence[Campaign]],
    outcome: str | None,
    limit: int,
    offset: int,
) -> Answer:
    """One leaderboard for each domain, version and instance in view, the one of the campaign that asks first.

    Raises:
        BadInput: a further page was asked for.
    """
    if offset:
        raise BadInput(
            f"Expected offset=0, since the campaigns in view have {len(groups)} leaderboards that do not compare, but "
            f"got {offset}. Page through one of them with the campaign=... of that group and scope='campaign'."
        )
    each = max(limit // len(groups), 1)
    own_first = sorted(groups.items(), key=lambda group: view.home not in group[1])[:limit]
    boards = [
        field_fields(field, members)
        | {
            "nodes": await found_lines(
                workspace,
                view,
                shown,
                await nodes.listed_across(
                    workspace.read, [entry.id for entry in members], order="best", outcome=outcome, limit=each
                ),
            )
        }
        for field, members in own_first
    ]
    return answer(
        groups=boards,
        more_groups=len(groups) - len(boards) or None,
        notice=shown.notice,
        next="Scores compare within a group only. get_node(node=...) for one in full.",
    )
