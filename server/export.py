"""Takes campaigns out of a workspace: a list for the terminal, or a folder with everything of one campaign."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..database import analyses, baselines, campaigns, experiments, judgements, nodes, progress
from ..database.experiments import StoredEvaluation
from ..database.workspace import Workspace, WorkspacePaths, open_workspace
from ..evolution.errors import BadInput, NotFound
from ..evolution.ids import parse_id, short_id
from ..evolution.models import Node
from ..tools.status import campaign_line


def existing_workspace(home: Path) -> Path:
    """A mistyped name must not make a workspace."""
    if not WorkspacePaths(home).database.is_file():
        raise NotFound(
            f"Expected a workspace in {home}, but there is none. Name one by --workspace or ASI_EVOLVE_HOME; a server "
            "makes it when the first campaign starts."
        )
    return home


async def list_campaigns(home: Path, *, as_json: bool) -> int:
    """Print the campaigns of a workspace.

    Raises:
        NotFound: there is no workspace.
    """
    async with open_workspace(existing_workspace(home)) as workspace:
        lines = [await campaign_line(workspace, entry) for entry in await campaigns.recent(workspace.read, limit=1000)]
    if as_json:
        print(json.dumps(lines, indent=1))
        return 0
    if not lines:
        print(f"No campaigns in {home}.")
    for line in lines:
        best = f"best {line['best_score']:.10g}" if "best_score" in line else "nothing scored"
        best += " (unjudged)" if line.get("best_unjudged") else ""
        name = "" if line["name"] == line["domain"] else f"  {line['name']}"
        print(f"{line['campaign']:>5}  {line['domain']:<20} {best:<22} {line['experiments']} experiments{name}")
    return 0


async def export_campaign(home: Path, campaign: str, folder: Path) -> int:
    """Write a campaign to a new folder: `campaign.json`, `nodes.jsonl`, and each node's files, logs, artifacts and
    progress; where scores are relative to the baseline, what that came to as `baseline.json`.

    Raises:
        BadInput: the folder exists already.
        NotFound: there is no such workspace or campaign.
    """
    if folder.exists():
        raise BadInput(f"Expected a folder that does not exist yet, but {folder} does. Choose another name.")
    async with open_workspace(existing_workspace(home)) as workspace:
        chosen = await campaigns.get(workspace.read, parse_id(campaign, "c"))
        folder.mkdir(parents=True)
        (folder / "campaign.json").write_text(chosen.model_dump_json(indent=1), encoding="utf-8")
        await _export_baseline(workspace, chosen.id, folder)
        found = await nodes.listed(workspace.read, chosen.id, order="oldest", limit=1_000_000)
        with (folder / "nodes.jsonl").open("w", encoding="utf-8") as stream:
            for node in found:
                stream.write(json.dumps(await _export_node(workspace, node, folder), ensure_ascii=False) + "\n")
    print(f"Wrote {len(found)} nodes of {campaign} to {folder}.")
    return 0


async def _export_baseline(workspace: Workspace, campaign_id: int, folder: Path) -> None:
    told: dict[str, Any] = {}
    for stage in sorted(await baselines.measured_stages(workspace.read, campaign_id)):
        known = await baselines.statistics(workspace.read, campaign_id, stage)
        told[stage] = {name: asdict(statistic) for name, statistic in known.items()}
    if told:
        (folder / "baseline.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


async def _export_node(workspace: Workspace, node: Node, folder: Path) -> dict[str, Any]:
    reader = workspace.read
    ordered = await experiments.of_node(reader, node.id)
    runs = await experiments.evaluations(reader, [entry.id for entry in ordered])
    reports = await analyses.latest(reader, [node.id])
    place = folder / short_id("n", node.id)
    _write(place / "files", await nodes.files(reader, node.id))
    for run in runs:
        await _export_run(workspace, run, place)
    return {
        **node.model_dump(mode="json"),
        "motivation": (await nodes.motivations(reader, [node.id])).get(node.id, ""),
        "inspired_by": await nodes.inspirations(reader, node.id),
        "experiments": [entry.model_dump(mode="json") for entry in ordered],
        "evaluations": [run.evaluation.model_dump(mode="json") for run in runs],
        "analysis": reports[node.id].report if node.id in reports else None,
        "tags": reports[node.id].tags if node.id in reports else [],
        **await _judgements(workspace, node),
        "lessons": [lesson.model_dump(mode="json") for lesson in await analyses.lessons_of(reader, node.id)],
    }


async def _judgements(workspace: Workspace, node: Node) -> dict[str, Any]:
    found = await judgements.of_node(workspace.read, node.id)
    return {"judgements": [asdict(judgement) for judgement in found]} if found else {}


async def _export_run(workspace: Workspace, run: StoredEvaluation, place: Path) -> None:
    name = f"e{run.evaluation.experiment_id}-{run.evaluation.stage}-{run.evaluation.seed}"
    _write(place / name, {f"{k}.log": v for k, v in (await experiments.log(workspace.read, run.id)).items()})
    told = (await progress.of_evaluations(workspace.read, [run.id])).get(run.id)
    _write(place / name, {"progress.json": told.to_json()} if told is not None else {})
    for file in await experiments.artifacts(workspace.read, run.id):
        target = place / name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(workspace.artifacts.read(file.sha256))


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
