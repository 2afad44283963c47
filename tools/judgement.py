"""What judges say: marks by the rubric of a domain, from the agent or from the configured endpoint."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from ..database import campaigns, experiments, judgements, nodes
from ..database.judgements import Judgement, NewJudgement
from ..database.workspace import Workspace
from ..domains.judging import Rubric
from ..domains.loader import Domain, find_domain
from ..evolution import judge_prompt
from ..evolution.errors import BadInput, EndpointError
from ..evolution.ids import parse_id, short_id
from ..evolution.judge_prompt import COMMENT_LIMIT, Exhibit
from ..evolution.judging import Judge, between
from ..evolution.models import Campaign, Node
from ..evolution.text import accepted, excerpt
from .answers import Answer, answer, anticipated, ids, number, without_none
from .laboratory import Laboratory
from .showing import Shown

RUBRIC_TEXT = 3000
"""Characters of all descriptions together, where a rubric is shown."""

Mark = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class JudgementTools:
    """record_judgement."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory

    @anticipated
    async def record_judgement(
        self,
        node: Annotated[str, Field(description="Node id of a scored node.")],
        marks: Annotated[
            dict[str, Mark],
            Field(description="Criterion to mark, every criterion of the rubric; leave it out with by='endpoint'."),
        ] = {},  # noqa: B006 -- pydantic copies it
        comment: Annotated[str, Field(description="Why these marks, at most 2,000 characters; default empty.")] = "",
        by: Annotated[
            Judge,
            Field(description="agent (default): the marks are yours. endpoint: the model that the user set up judges."),
        ] = "agent",
    ) -> Answer:
        """Judge a scored node by the rubric of its domain (list_domains(domain=...) shows criteria and scale), where
        the domain has one. The node's score becomes (1 - r) * metric + r * judge at once. Until then it counts as one
        with the lowest marks and is shown as unjudged. Judged again, the latest judgement of agent and of endpoint
        count, with their mean. Judge the program, not what its comments claim.
        """
        workspace = await self._laboratory.workspace()
        subject = await nodes.get(workspace.read, parse_id(node, "n"))
        campaign = await campaigns.get(workspace.read, subject.campaign_id)
        domain = find_domain(campaign.domain)
        rubric = _rubric(domain, campaign, by)
        _refuse_unscored(subject)
        if by == "endpoint":
            _refuse_own_words(marks, comment)
            new = await self._by_endpoint(workspace, subject, domain, rubric)
        else:
            checked = rubric.checked(marks)
            comment = accepted(comment, "comment", limit=COMMENT_LIMIT, required=False)
            new = NewJudgement("agent", None, checked, rubric.quality(checked), comment)
        async with workspace.transaction() as tx:
            before = await nodes.get(tx, subject.id)
            stage = _refuse_unscored(before)  # it may have been held or refused meanwhile
            await judgements.add(tx, before, new)
            await judgements.rescore(tx, subject.id, stage, rubric.weighing)
            after = await nodes.get(tx, subject.id)
            place = await nodes.rank(tx, after)
        left = await judgements.unjudged(workspace.read, campaign.id)
        return answer(
            node=short_id("n", subject.id),
            judgement=judgement_fields(new),
            mean_mark=number(between(*rubric.scale, after.judging.quality or 0.0)) if after.judging else None,
            metric_score=after.metric_score,
            score_before=before.score,
            unjudged_before=before.unjudged or None,
            score=after.score,
            rank=place,
            needs_judgement=ids("n", left) or None,
            next=f"record_judgement(node='{short_id('n', left[0])}', ...)."
            if left
            else f"sample_nodes(campaign='{short_id('c', campaign.id)}') begins the next round.",
        )

    async def _by_endpoint(self, workspace: Workspace, subject: Node, domain: Domain, rubric: Rubric) -> NewJudgement:
        endpoint = self._laboratory.judge
        if endpoint is None:
            raise BadInput(
                "Expected an endpoint that judges, but none is set up: the user has to set ASI_EVOLVE_JUDGE_URL and "
                "ASI_EVOLVE_JUDGE_MODEL. Judge yourself with by='agent'."
            )
        asked = judge_prompt.Rubric(
            title=domain.spec.domain.title,
            instructions=rubric.instructions,
            criteria={name: criterion.description for name, criterion in rubric.criteria.items()},
            scale=rubric.scale,
        )
        exhibit = await _exhibit(workspace, subject)
        marked = await endpoint.ask(judge_prompt.messages(asked, exhibit, lambda: secrets.token_hex(16)))
        try:
            checked = rubric.checked(marked.marks)
        except BadInput as error:
            raise EndpointError(
                f"The judge's endpoint did not keep to the rubric. {error} Nothing was stored."
            ) from None
        return NewJudgement("endpoint", endpoint.model, checked, rubric.quality(checked), marked.comment)


async def _exhibit(workspace: Workspace, node: Node) -> Exhibit:
    """What the endpoint sees of a node."""
    reader = workspace.read
    runs = await experiments.scoring_runs(reader, node.id, node.score_stage or "")
    reports = await (await Shown.of(reader, node.campaign_id)).reports(reader, [node.id])
    motivations = await nodes.motivations(reader, [node.id])
    return Exhibit(
        files=await nodes.files(reader, node.id),
        motivation=f"{node.name}\n{motivations.get(node.id, '')}",
        metrics=runs[-1].evaluation.metrics if runs else {},
        analysis=reports[node.id].report if node.id in reports else "",
    )


def _rubric(domain: Domain, campaign: Campaign, by: Judge) -> Rubric:
    rubric = domain.spec.judge
    if rubric is None:
        raise BadInput(
            f"Expected a node of a domain with a rubric, but domain {domain.name} has none: its score is its metric's "
            "alone, and there is nothing to judge."
        )
    if domain.spec.domain.version != campaign.domain_version:
        raise BadInput(
            f"Campaign c{campaign.id} was started on version {campaign.domain_version} of domain {domain.name}, which "
            f"is now version {domain.spec.domain.version}: judgements would not compare. Start a new campaign."
        )
    if by not in rubric.judges:
        raise BadInput(f"Expected a judge that domain {domain.name} allows ({', '.join(rubric.judges)}), but got {by}.")
    return rubric


def _refuse_unscored(node: Node) -> str:
    """The stage that it scored at.

    Raises:
        BadInput: it has no score.
    """
    if node.score is None or node.score_stage is None:
        state = f"ended as {node.outcome}" if node.outcome is not None else f"is {node.status}"
        raise BadInput(f"Expected n{node.id} to have scored, but it {state}. Only scored nodes are judged.")
    return node.score_stage


def _refuse_own_words(marks: dict[str, float], comment: str) -> None:
    if marks or comment.strip():
        raise BadInput("Expected neither marks nor comment with by='endpoint', which gives its own. Leave them out.")


def judgement_fields(judgement: NewJudgement) -> dict[str, Any]:
    """A judgement as answers show it."""
    return without_none(
        {
            "by": judgement.judge,
            "model": judgement.model,
            "marks": {name: number(mark) for name, mark in judgement.marks.items()},
            "comment": excerpt(judgement.comment, 400) or None,
        }
    )


def judgement_lines(found: list[Judgement], shown: Shown) -> list[dict[str, Any]]:
    """The judgements of a node that count: the latest of each judge. What a judge says in words is an analysis."""
    latest = {judgement.judge: judgement for judgement in found}.values()
    return [judgement_fields(entry if shown.lessons else replace(entry, comment="")) for entry in latest]


def rubric_fields(rubric: Rubric) -> dict[str, Any]:
    """A rubric for somebody who is to judge by it."""
    limit = RUBRIC_TEXT // (len(rubric.criteria) + 1)
    return without_none(
        {
            "weight": rubric.weight,
            "scale": list(rubric.scale),
            "maps_to": list(rubric.maps_to),
            "judges": list(rubric.judges),
            "instructions": excerpt(rubric.instructions, limit) or None,
            "criteria": {
                name: {"weight": criterion.weight, "about": excerpt(criterion.description, limit)}
                for name, criterion in rubric.criteria.items()
            },
        }
    )
