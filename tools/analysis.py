"""What the Analyzer says."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..database import analyses, campaigns, nodes
from ..evolution.errors import BadInput
from ..evolution.ids import parse_id, short_id
from ..evolution.outcomes import ExperimentStatus
from ..evolution.text import accepted
from .answers import Answer, answer, anticipated, ids
from .laboratory import Laboratory
from .showing import LESSONS_OFF, Shown


class AnalysisTools:
    """record_analysis."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory

    @anticipated
    async def record_analysis(
        self,
        node: Annotated[str, Field(description="Node id.")],
        report: Annotated[
            str,
            Field(description="What came out against parent and expectation, and why; at most 8,000 characters."),
        ],
        lessons: Annotated[
            list[str],
            Field(description="0 to 10 general lessons, one or two sentences each, that hold beyond this node."),
        ] = [],  # noqa: B006 -- pydantic copies it
        tags: Annotated[list[str], Field(description="0 to 10 short tags for design choices, such as 'slsqp'.")] = [],  # noqa: B006
    ) -> Answer:
        """Store the analysis of a finished node. The report steers retrieval when the node is sampled again, and the
        lessons are found by search_cognition and sample_nodes from now on. Be causal and specific; say what to try or
        to avoid next. A node can be analysed again; the latest report counts.
        """
        if len(lessons) > 10 or len(tags) > 10:
            raise BadInput(f"Expected at most 10 lessons and 10 tags, but got {len(lessons)} and {len(tags)}.")
        report = accepted(report, "report", limit=8000)
        lessons = [accepted(lesson, f"lesson {place}", limit=1000) for place, lesson in enumerate(lessons, start=1)]
        tags = [accepted(tag, f"tag {place}", limit=40, one_line=True) for place, tag in enumerate(tags, start=1)]
        workspace = await self._laboratory.workspace()
        async with workspace.transaction() as tx:
            subject = await nodes.get(tx, parse_id(node, "n"))
            if subject.status is not ExperimentStatus.FINISHED:
                raise BadInput(f"Expected {node} to be finished, but it is {subject.status}. wait_experiment first.")
            analysis_id, lesson_ids = await analyses.add(
                tx, campaign_id=subject.campaign_id, node_id=subject.id, report=report, lessons=lessons, tags=tags
            )
        campaign = await campaigns.get(workspace.read, subject.campaign_id)
        shown = Shown.by(campaign.settings)
        left = await shown.unanalysed(workspace.read, campaign.id)
        return answer(
            analysis=short_id("a", analysis_id),
            lessons=ids("l", lesson_ids) or None,
            needs_analysis=ids("n", left) or None,
            notice=None if shown.lessons else f"Stored. {LESSONS_OFF}",
            next=f"record_analysis for {ids('n', left[:3])}."
            if left
            else f"sample_nodes(campaign='{short_id('c', campaign.id)}') begins the next round.",
        )
