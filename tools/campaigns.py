"""Domains and campaigns: what can be searched, starting a search, and where it stands."""

from __future__ import annotations

import time
from typing import Annotated, Any

from pydantic import Field

from ..database import campaigns, cognition, experiments, nodes
from ..database.connection import Transaction
from ..domains.loader import Domain, domain_names, find_domain
from ..evolution import budgets
from ..evolution.errors import BadInput, BudgetReached, DomainError, NotFound
from ..evolution.ids import parse_id, short_id
from ..evolution.map_elites import Measure
from ..evolution.models import Budget, Campaign, CampaignOptions, CampaignSettings
from ..evolution.novelty.fingerprint import fingerprint
from ..evolution.novelty.likeness import Profile
from ..evolution.novelty.outline import outline_of
from ..evolution.text import accepted, excerpt
from .answers import Answer, Detail, answer, anticipated, without_none
from .baseline import relative_fields
from .judge_endpoint import JudgeEndpoint
from .judgement import rubric_fields
from .knowledge import seed_items
from .laboratory import Laboratory
from .samplers import find_sampler
from .showing import Shown
from .status import campaign_line, settings_fields, status_fields


class CampaignTools:
    """list_domains, start_campaign, campaign_status, update_campaign."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory

    @anticipated
    async def list_domains(
        self,
        domain: Annotated[
            str | None, Field(description="Name, or absolute path of a domain folder, to see one in full.")
        ] = None,
        detail: Annotated[Detail, Field(description="concise or full (with each domain's brief).")] = "concise",
    ) -> Answer:
        """List the problems that programs can be evolved for. With `domain`, show one in full: the brief for the
        Researcher, stages with their budgets, metrics, instances. A domain of the user's own is a folder: give its
        absolute path, here and to start_campaign; what is wrong with it is answered with file and key.
        """
        if domain is not None:
            return answer(
                domain=_domain_fields(find_domain(domain), full=True), next=f"start_campaign(domain={domain!r})."
            )
        found: list[dict[str, Any]] = []
        for name in domain_names():
            try:
                found.append(_domain_fields(find_domain(name), full=detail == "full"))
            except (DomainError, NotFound) as error:  # one broken plug-in must not hide the others
                found.append({"name": name, "broken": str(error)})
        return answer(domains=found, next="start_campaign(domain=...), or list_domains(domain=...) for its brief.")

    @anticipated
    async def start_campaign(
        self,
        domain: Annotated[str, Field(description="Domain name, or absolute path of a domain folder.")],
        name: Annotated[str, Field(description="A short name for humans; default: the domain's.")] = "",
        goal: Annotated[str, Field(description="What this search is after, in a sentence or two.")] = "",
        instance: Annotated[str | None, Field(description="Instance of the domain; default: its first.")] = None,
        program: Annotated[
            str | None,
            Field(description="Research program it belongs to: a name that campaigns share to learn from each other."),
        ] = None,
        sampler: Annotated[
            str,
            Field(
                description="How parents are drawn: ucb1 (default), greedy, random, map_elites, or an installed one."
            ),
        ] = "ucb1",
        budget: Annotated[
            Budget | None,
            Field(description="Bounds; default experiments=100. Others are unbounded unless given."),
        ] = None,
        seed: Annotated[int, Field(ge=0, lt=2**31, description="Base of all random choices, default 0.")] = 0,
        seeds: Annotated[
            int, Field(ge=1, le=64, description="Evaluation seeds per experiment, 1 to 64, default 1.")
        ] = 1,
        options: Annotated[CampaignOptions | None, Field(description="Further choices; all have defaults.")] = None,
    ) -> Answer:
        """Start a search on a domain: stores the campaign, loads the domain's prior knowledge, and queues the baseline
        program as node and experiment number one. The answer holds the brief: read it before you write a candidate.
        Every bound of the budget that is reached makes run_experiment refuse until it is raised.
        """
        find_sampler(sampler, (options or CampaignOptions()).sampling)
        chosen = find_domain(domain)
        instance, _ = chosen.parameters(instance)
        settings = CampaignSettings(
            **dict(options or CampaignOptions()),
            sampler=sampler,
            seed=seed,
            seeds=seeds,
            python=self._laboratory.python,
            budget=budget or Budget(),
        )
        seed_cognition = seed_items(chosen.name, chosen.cognition())
        profile = Profile(outline_of(chosen.baseline, chosen.spec.candidate.must_define))
        workspace = await self._laboratory.workspace()
        async with workspace.transaction() as tx:
            campaign_id = await campaigns.add(
                tx,
                name=accepted(name, "name", limit=120, required=False, one_line=True) or chosen.spec.domain.title,
                goal=accepted(goal, "goal", limit=2000, required=False),
                program=accepted(program, "program", limit=120, one_line=True) if program is not None else None,
                domain=domain if domain == chosen.name else str(chosen.folder),
                domain_name=chosen.name,
                domain_version=chosen.spec.domain.version,
                instance=instance,
                settings=settings,
            )
            for item in seed_cognition:
                await cognition.add(tx, item)
            node_id = await nodes.add(
                tx,
                nodes.NewNode(
                    campaign_id=campaign_id,
                    name="baseline",
                    motivation="The program that the search starts from.",
                    files=chosen.baseline,
                    fingerprint=fingerprint(chosen.baseline),
                    profile=profile,
                    is_baseline=True,
                ),
            )
            experiment_id = await experiments.enqueue(
                tx,
                campaign_id=campaign_id,
                node_id=node_id,
                stage=chosen.spec.default_stage,
                seeds=[seed + place for place in range(_seeds_of_baseline(chosen, seeds))],
            )
        self._laboratory.wake_engineer()
        return answer(
            campaign=short_id("c", campaign_id),
            instance=instance,
            baseline={"node": short_id("n", node_id), "experiment": short_id("e", experiment_id)},
            budget=settings.budget.model_dump(exclude_none=True),
            cognition_items=await cognition.count(workspace.read, chosen.name) if settings.cognition else None,
            judge=_judge_in_short(chosen, domain, self._laboratory.judge),
            notice=Shown.by(settings).notice,
            brief=chosen.brief[:7000],
            next=f"wait_experiment(experiments=['{short_id('e', experiment_id)}']), then "
            f"sample_nodes(campaign='{short_id('c', campaign_id)}').",
        )

    @anticipated
    async def campaign_status(
        self,
        campaign: Annotated[str | None, Field(description="Campaign id; without it, a list of campaigns.")] = None,
        detail: Annotated[
            Detail, Field(description="concise or full (more nodes and lessons, effects of design choices, best-of-N).")
        ] = "concise",
    ) -> Answer:
        """Where a search stands, enough to go on after losing all context: goal, settings, budget used, best node and
        whether its lead is inside the noise, latest nodes, running experiments, plateau, nodes that still need an
        analysis, lessons, and what to do next. In full also which tags went with gains and failures (`effects`), and
        what as many tries from the baseline alone would have found (`best_of_n`). Without `campaign` it lists the
        campaigns of this workspace.
        """
        workspace = await self._laboratory.workspace()
        if campaign is None:
            found = await campaigns.recent(workspace.read, limit=20)
            return answer(
                campaigns=[await campaign_line(workspace, entry) for entry in found],
                next="campaign_status(campaign=...)" if found else "list_domains, then start_campaign.",
            )
        chosen = await campaigns.get(workspace.read, parse_id(campaign, "c"))
        if await experiments.any_unfinished(workspace.read):  # a daemon may have died since
            self._laboratory.wake_engineer()
        return answer(**await status_fields(workspace, chosen, detail))

    @anticipated
    async def update_campaign(
        self,
        campaign: Annotated[str, Field(description="Campaign id.")],
        budget: Annotated[
            Budget | None,
            Field(description="New bounds. Those you leave out stay; null takes one away (not experiments)."),
        ] = None,
        sampler: Annotated[
            str | None, Field(description="ucb1, greedy, random, map_elites, or an installed one.")
        ] = None,
        seeds: Annotated[
            int | None, Field(ge=1, le=64, description="Evaluation seeds per experiment, 1 to 64.")
        ] = None,
        program: Annotated[
            str | None, Field(description="Research program that it belongs to from now on; '' for none.")
        ] = None,
        options: Annotated[
            CampaignOptions | None, Field(description="Further choices; those you leave out stay.")
        ] = None,
    ) -> Answer:
        """Change the budget, parent sampler, number of seeds, program or other options of a campaign. Raise a budget
        only when the user has agreed: it stands for their machine's time. What you leave out stays as it is.
        """
        workspace = await self._laboratory.workspace()
        async with workspace.transaction() as tx:
            chosen = await campaigns.get(tx, parse_id(campaign, "c"))
            changes = without_none({"sampler": sampler, "seeds": seeds})
            if budget is not None and budget.model_fields_set:
                given = budget.model_dump(include=budget.model_fields_set)
                changes["budget"] = chosen.settings.budget.model_copy(update=given)
            if options is not None:
                changes |= _given(chosen.settings, options)
            if not changes and program is None:
                raise BadInput("Expected a change of budget, sampler, seeds, program or options, but got none.")
            settings = chosen.settings.model_copy(update=changes)
            if sampler is not None or options is not None:
                find_sampler(settings.sampler, settings.sampling)
            if changes:
                await campaigns.change_settings(tx, chosen.id, settings)
            if program is not None:
                named = accepted(program, "program", limit=120, required=False, one_line=True)
                await campaigns.set_program(tx, chosen.id, named or None)
                chosen = await campaigns.get(tx, chosen.id)
            use = await campaigns.use(tx, chosen, time.time())
        reached = budgets.reached(settings.budget, use)
        return answer(
            campaign=short_id("c", chosen.id),
            program=chosen.program,
            settings=settings_fields(settings),
            reached=reached or None,
            next=f"The campaign is still at a bound. With the user's consent: update_campaign(campaign='{campaign}', "
            "budget={...})."
            if reached
            else f"sample_nodes(campaign='{campaign}').",
        )


async def refuse_over_budget(tx: Transaction, campaign: Campaign) -> None:
    """Nothing new begins once a bound of the campaign is reached.

    Raises:
        BudgetReached: with which, and how to raise it.
    """
    current = await campaigns.get(tx, campaign.id)
    reached = budgets.reached(current.settings.budget, await campaigns.use(tx, current, time.time()))
    if reached:
        raise BudgetReached(
            f"Campaign c{campaign.id} has reached a bound: {'; '.join(reached)}. Nothing was stored. With the user's "
            f"consent, raise it with update_campaign(campaign='c{campaign.id}', budget={{...}})."
        )


def _seeds_of_baseline(domain: Domain, seeds: int) -> int:
    """More than candidates get, where their scores are relative to it."""
    stage = domain.spec.stage(domain.spec.default_stage)
    return max(seeds, stage.baseline_seeds) if stage is not None else seeds


def _given(settings: CampaignSettings, options: CampaignOptions) -> dict[str, Any]:
    """The options that the caller named, with what stays of the others."""
    changes = {name: getattr(options, name) for name in options.model_fields_set}
    if "sampling" in changes:
        named = options.sampling.model_dump(include=options.sampling.model_fields_set)
        changes["sampling"] = settings.sampling.model_copy(update=named)
    return changes


def _judge_in_short(domain: Domain, called: str, endpoint: JudgeEndpoint | None) -> str | None:
    rubric = domain.spec.judge
    if rubric is None:
        return None
    by = f" The user has set up a judge, {endpoint.model}: by='endpoint'." if endpoint is not None else ""
    return (
        f"Scored nodes are judged too (record_judgement), by {', '.join(rubric.criteria)}; list_domains(domain="
        f"{called!r}) shows the rubric. score = {1 - rubric.weight:.3g} * metric + {rubric.weight:.3g} * judge." + by
    )


def _range_of(measure: Measure) -> list[float] | str:
    return "grows" if measure.low is None or measure.high is None else [measure.low, measure.high]


def _domain_fields(domain: Domain, *, full: bool) -> dict[str, Any]:
    spec = domain.spec
    fields: dict[str, Any] = {
        "name": domain.name,
        "title": spec.domain.title,
        "summary": excerpt(spec.domain.summary, 600),
        "instances": list(spec.instances) or None,
        "stages": [
            without_none(
                {
                    "name": stage.name,
                    "cpu_seconds": stage.cpu_seconds,
                    "gpus": stage.gpus or None,
                    "baseline_seeds": stage.baseline_seeds or None,
                    "cache": stage.cache or None,
                    "on_request": stage.on_request or None,
                    "about": stage.description if full else None,
                }
            )
            for stage in spec.stages
        ],
        "default_stage": spec.default_stage,
        "fitness": f"{spec.fitness.direction} {spec.fitness.metric}"
        + (", relative to the baseline" if spec.fitness.relative is not None else ""),
    }
    if full:
        rubric = rubric_fields(spec.judge) if spec.judge is not None else None
        fields |= {
            "version": spec.domain.version,
            "folder": str(domain.folder),
            "requirements": list(spec.domain.requirements) or None,
            "candidate": {"entry": spec.candidate.entry, "max_files": spec.candidate.max_files},
            "metrics": {name: metric.description for name, metric in spec.metrics.items()},
            "measures": {measure.name: _range_of(measure) for measure in spec.archive_measures()},
            "relative": relative_fields(spec.fitness.relative) if spec.fitness.relative is not None else None,
            "alarms": [
                f"{alarm.direction} {alarm.metric}: more than {alarm.margin:.0%} better than the best is held"
                for alarm in spec.quarantine.alarms
            ]
            or None,
            "early_stops": [f"{rule.resolved().name}: {rule.outcome}" for rule in spec.stop] or None,
            "judge": rubric,
            "brief": domain.brief[: 9000 - (len(str(rubric)) if rubric is not None else 0)],
        }
    return without_none(fields)
