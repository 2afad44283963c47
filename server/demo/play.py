"""Plays the scripted campaign through a real MCP client."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp_types import BlobResourceContents, TextContent, TextResourceContents

from ...database.workspace import WorkspacePaths
from ...evolution.errors import EvolveError
from ...sandbox.daemon_lock import daemon_about
from .script import Round, rounds
from .stage import Played, Stage

PICTURE = "packing.svg"
DAEMON_IDLE_S = 2.0
DAEMON_PATIENCE_S = 30.0
LAST_LOOK_S = 5.0


async def play(home: Path | None, output: Path) -> int:
    """Play the campaign, in a workspace that is removed afterwards unless one is given; return the exit status."""
    stage = Stage()
    place = home if home is not None else Path(tempfile.mkdtemp(prefix="asi-evolve-demo-"))
    begin = time.monotonic()
    try:
        stage.opening(str(place) if home is not None else f"{place}, removed at the end (--workspace keeps one)")
        try:
            async with Client(_server(place)) as client:
                played = await Campaign(client, stage).play()
                await _show_pictures(client, stage, played, output)
        except BaseExceptionGroup as group:  # the client's task group wraps whatever ends it
            if (known := group.subgroup((EvolveError, OSError))) is not None:
                raise _first(known) from group
            raise
        stage.console.print(f"\nDone in {time.monotonic() - begin:.0f} s.")
    finally:
        if home is None:
            await _wait_for_daemon(WorkspacePaths(place))
            shutil.rmtree(place, ignore_errors=True)
    return 0


def _first(group: BaseExceptionGroup[EvolveError | OSError]) -> EvolveError | OSError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _server(place: Path) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-I", "-m", "asi_evolve.server.cli", "serve", "--workspace", str(place)],
        env={"ASI_EVOLVE_IDLE_SECONDS": str(DAEMON_IDLE_S)},
    )


class Campaign:
    """The scripted agent."""

    def __init__(self, client: Client, stage: Stage) -> None:
        self._client = client
        self._stage = stage
        self._campaign = ""
        self._played: list[Played] = []

    async def play(self) -> list[Played]:
        """Baseline, then every round of the script."""
        script = rounds()
        started = await self._call(
            "start_campaign",
            domain="circle_packing",
            name="demo",
            goal="Show the loop: learn, design, experiment, analyze.",
            budget={"experiments": len(script) + 1},
        )
        self._campaign = started["campaign"]
        self._stage.say("campaign", f"{self._campaign}, {started['cognition_items']} cognition items")
        baseline = await self._finish({"experiment": started["baseline"]["experiment"], "status": "queued"})
        self._show(baseline)
        self._played.append(Played("baseline", baseline["node"], None, baseline["outcome"], baseline.get("score")))
        if "score" not in baseline:
            raise EvolveError(f"The baseline did not score: {baseline.get('reason')} `asi-evolve doctor` may tell why.")
        for number, entry in enumerate(script, start=1):
            self._stage.heading(number, len(script), entry.name, " ".join(entry.motivation.split()))
            await self._round(entry)
        return self._played

    async def _round(self, entry: Round) -> None:
        sample = await self._call("sample_nodes", campaign=self._campaign)
        self._stage.say("learn", f"sampler offers {sample['parent']['id']} ({sample['parent']['why']})")
        sources = await self._sources(entry)
        parent = next(played for played in self._played if played.name == entry.parent)
        self._stage.say("design", f"{entry.form} on {parent.node} {parent.name}, inspired by {', '.join(sources)}")
        result = await self._finish(
            await self._call(
                "run_experiment",
                campaign=self._campaign,
                name=entry.name,
                motivation=entry.motivation,
                parents=[parent.node],
                inspired_by=sources,
                idempotency_key=entry.name,
                wait_s=0,
                **{entry.form: entry.text()},
            )
        )
        self._show(result)
        score = result.get("score")
        self._played.append(Played(entry.name, result["node"], entry.parent, result["outcome"], score))
        report = entry.report(score, parent.score, result["outcome"])
        await self._call("record_analysis", node=result["node"], report=report, lessons=entry.lessons, tags=entry.tags)
        self._stage.say("analyze", entry.lessons[0])

    async def _sources(self, entry: Round) -> list[str]:
        """Ids of the cognition items that the script names by title."""
        found: list[str] = []
        for title in entry.inspired_by:
            answer = await self._call("search_cognition", campaign=self._campaign, query=title)
            found += [item["id"] for item in answer["items"] if item["title"] == title]
        return found

    async def _finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Wait until an experiment has finished, showing how it goes."""
        begin = time.monotonic()
        while result["status"] != "finished":
            if "warning" in result:
                raise EvolveError(result["warning"])
            seconds = time.monotonic() - begin
            self._stage.waiting(f"{result['experiment']} {result.get('stage', '')} {result['status']} {seconds:.0f} s")
            result = await self._call("wait_experiment", experiments=[result["experiment"]], wait_s=1)
        return result

    def _show(self, result: dict[str, Any]) -> None:
        runs = result.get("runs", [])
        cpu = sum(run["cpu_s"] for run in runs)
        took = f"{cpu:.1f} CPU s, {max((run['memory_mb'] for run in runs), default=0):.0f} MB"
        self._stage.result(result["outcome"], result.get("score"), result.get("gain"), result.get("reason", ""), took)

    async def _call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self._client.call_tool(tool, arguments)
        if result.is_error or result.structured_content is None:
            text = " ".join(part.text for part in result.content if isinstance(part, TextContent))
            raise EvolveError(f"{tool} failed: {text}")
        return result.structured_content


async def _show_pictures(client: Client, stage: Stage, played: list[Played], output: Path) -> None:
    stage.lineage(played)
    stage.staircase(played)
    best = max(played, key=lambda entry: entry.score if entry.score is not None else float("-inf"))
    picture = await client.read_resource(f"evolve://nodes/{best.node}/artifacts/{PICTURE}")
    content = picture.contents[0]
    data = content.text.encode() if isinstance(content, TextResourceContents) else _blob(content)
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"best-{PICTURE}"
    target.write_bytes(data)
    stage.console.print(f"\nBest packing: {best.node} {best.name}, {best.score:.15f}, drawn in {target}")


def _blob(content: BlobResourceContents) -> bytes:
    return base64.b64decode(content.blob)


async def _wait_for_daemon(paths: WorkspacePaths) -> None:
    """The daemon ends by itself when it is idle; its folder must not be taken from under it."""
    about = daemon_about(paths)
    give_up = time.monotonic() + DAEMON_PATIENCE_S
    while daemon_about(paths) is not None and time.monotonic() < give_up:
        await asyncio.sleep(0.1)
    # Without its lock it has a last look at the queue. Not for long: a dead one that nobody reaps looks alive.
    give_up = time.monotonic() + LAST_LOOK_S
    while about is not None and _exists(int(about["pid"])) and time.monotonic() < give_up:
        await asyncio.sleep(0.1)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
