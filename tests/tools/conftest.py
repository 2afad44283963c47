"""A server in this process on a real workspace and a real client; the tests play the Engineer through the database."""

import contextlib
import time
from pathlib import Path

import pytest
from asi_evolve.database import analyses, campaigns, experiments, judgements, nodes
from asi_evolve.database import progress as progress_table
from asi_evolve.domains.loader import find_domain
from asi_evolve.evolution.models import Evaluation
from asi_evolve.evolution.novelty.fingerprint import fingerprint
from asi_evolve.evolution.outcomes import Outcome, ResourceUsage
from asi_evolve.evolution.statistics import mean
from asi_evolve.server.app import build_server
from asi_evolve.server.settings import Settings
from asi_evolve.tools.laboratory import Laboratory
from mcp import Client

NUMBER_DOMAIN = str(Path(__file__).parent.parent / "domain_folders" / "number")
NO_ENGINEER = ["true"]


def program(value, comment=""):
    """A candidate of the number domain."""
    return f"{comment}def number(seed: int) -> float:\n    return {value!r}\n"


async def settle(workspace, number, outcome=Outcome.SCORED, score=None, **told):
    """End an experiment as the engineer daemon would, with one run for each of its seeds, which score `score`, or as
    `scores` says of a seed."""
    reason, metrics = told.pop("reason", ""), told.pop("metrics", None)
    logs, artifacts = told.pop("logs", {}), told.pop("artifacts", ())
    progress, environment = told.pop("progress", None), told.pop("environment", {})
    scores = told.pop("scores", {})
    cpu_seconds, gpu_seconds = told.pop("cpu_seconds", 0.5), told.pop("gpu_seconds", 0.0)
    assert not told
    now = time.time()
    async with workspace.transaction() as tx:
        await experiments.start(tx, number)
        ordered = await experiments.get(tx, number)
        of_seed = {seed: scores.get(seed, score) for seed in ordered.seeds}
        score = mean(list(of_seed.values())).value if scores else score
        for seed in ordered.seeds:
            job = await experiments.order_job(
                tx, experiment_id=number, stage=ordered.stage, seed=seed, token="token", cpus=1, gpus=[]
            )
            evaluation = Evaluation(
                experiment_id=number,
                stage=ordered.stage,
                seed=seed,
                outcome=outcome,
                reason=reason,
                score=of_seed[seed],
                metrics=metrics if metrics is not None else {} if of_seed[seed] is None else {"value": of_seed[seed]},
                limit=None,
                usage=ResourceUsage(cpu_seconds=cpu_seconds, wall_seconds=0.6, gpu_seconds=gpu_seconds),
                environment={"python": "3.11"} | environment,
                started_at=now,
                finished_at=now,
            )
            assert await experiments.settle_job(tx, job, evaluation, logs, artifacts, progress)
        await experiments.finish(tx, number, outcome, reason, score)
        if score is not None:
            rubric = find_domain((await campaigns.get(tx, ordered.campaign_id)).domain).spec.judge
            weighing = rubric.weighing if rubric is not None else None
            await judgements.rescore(tx, ordered.node_id, ordered.stage, weighing)


async def running(workspace, number, point=None, seed=0):
    """Start an experiment as the engineer daemon would; its run tells where it is."""
    async with workspace.transaction() as tx:
        await experiments.start(tx, number)
        stage = (await experiments.get(tx, number)).stage
        job = await experiments.order_job(
            tx, experiment_id=number, stage=stage, seed=seed, token="token", cpus=1, gpus=[]
        )
        await progress_table.note(tx, {job.id: point} if point is not None else {})
    return job


class Bench:
    """A client on a server, and what a test needs to know of the workspace behind it."""

    def __init__(self, laboratory, server, bus, client):
        self.laboratory, self.server, self.bus, self.client = laboratory, server, bus, client
        self.root = laboratory.paths.root

    async def workspace(self):
        return await self.laboratory.workspace()

    async def call(self, tool, **arguments):
        """The structured answer; fails where the tool does."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content[0].text
        return result.structured_content

    async def text(self, tool, **arguments):
        """The answer as text."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content[0].text
        return result.content[0].text

    async def refusal(self, tool, **arguments):
        """The text of a failure that leaves the database as it was."""
        before = await self.stored()
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, result.content[0].text
        text = result.content[0].text
        assert text != f"Error executing tool {tool}", "a failure that nobody anticipated"
        assert await self.stored() == before, "a refused call stored something"
        return text

    async def stored(self):
        """Every row of every table."""
        reader = (await self.workspace()).read
        tables = await reader.all(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        )
        return {
            table["name"]: [tuple(row) for row in await reader.all(f"SELECT * FROM {table['name']}")]
            for table in tables
        }

    async def settle(self, experiment, outcome=Outcome.SCORED, score=None, **told):
        await settle(await self.workspace(), int(experiment[1:]), outcome, score, **told)

    async def campaign(self, score=1.0, **arguments):
        """A campaign with a scored baseline; its id."""
        started = await self.call("start_campaign", **{"domain": NUMBER_DOMAIN} | arguments)
        if score is not None:
            await self.settle(started["baseline"]["experiment"], score=score)
        return started["campaign"]

    async def queue(self, campaign, value=2.0, **arguments):
        """A candidate that waits for the Engineer; the answer of run_experiment."""
        given = {"name": f"returns {value}", "motivation": f"Try {value}.", "code": program(value), "wait_s": 0}
        if arguments.keys() & {"files", "edits"}:
            del given["code"]
        return await self.call("run_experiment", campaign=campaign, **given | arguments)

    async def node(self, campaign, value=2.0, outcome=Outcome.SCORED, told=None, **arguments):
        """A candidate that has ended; its id. It scores its number."""
        queued = await self.queue(campaign, value, **arguments)
        score = float(value) if outcome is Outcome.SCORED else None
        await self.settle(queued["experiment"], outcome, score, **told or {})
        return queued["node"]


@contextlib.asynccontextmanager
async def open_bench(root, mode="auto", engineer_command=NO_ENGINEER, arxiv=None, **settings):
    chosen = Settings(home=root, **settings)
    async with Laboratory(root, engineer_command, judge=chosen.judge_endpoint(), arxiv=arxiv) as laboratory:
        server, bus = build_server(laboratory, chosen)
        async with Client(server, mode=mode) as client:
            yield Bench(laboratory, server, bus, client)


@pytest.fixture
async def bench(tmp_path):
    async with open_bench(tmp_path / "workspace") as bench:
        yield bench


@pytest.fixture
async def campaign(bench):
    """A campaign on the number domain, c1, whose baseline n1 has scored 1.0 in e1."""
    return await bench.campaign()


async def crowd(workspace, campaign_id, count=50):
    """Many large nodes: 8 kB of code, an analysis of 5 kB, long motivations, full lessons, all through the stores."""
    domain = find_domain(NUMBER_DOMAIN)
    metrics = {f"metric_number_{place}": place / 7 for place in range(12)}
    for place in range(count):
        filler = "".join(f'    text_{line} = "what {place} says, \\"{line}\\""\n' for line in range(180))
        files = {"number.py": f"def number(seed):\n{filler}    return {place / 3!r}\n"}
        async with workspace.transaction() as tx:
            node_id = await nodes.add(
                tx,
                nodes.NewNode(
                    campaign_id=campaign_id,
                    name=f"{place} {'n' * 77}",
                    motivation=f"Why candidate {place} gains: " + "a bound on the number and its size. " * 220,
                    files=files,
                    fingerprint=fingerprint(files),
                    parents=[1, max(1, place)],
                ),
            )
            number = await experiments.enqueue(
                tx, campaign_id=campaign_id, node_id=node_id, stage=domain.spec.default_stage, seeds=[0]
            )
        if place % 3 == 2:
            reason = f"Traceback {place}: " + "a line of the log, with some words in it; " * 100
            await settle(
                workspace, number, Outcome.CANDIDATE_ERROR, reason=reason, logs={"stderr": "error in line\n" * 900}
            )
        else:
            await settle(workspace, number, score=place / 3, metrics=metrics)
        async with workspace.transaction() as tx:
            await analyses.add(
                tx,
                campaign_id=campaign_id,
                node_id=node_id,
                report=f"Report {place}. " + "The number grew since the bound was far. " * 120,
                lessons=[
                    f"Lesson {place}.{part} " + "Larger numbers score more under the bound. " * 20 for part in "ab"
                ],
                tags=["size"],
            )
    return await campaigns.get(workspace.read, campaign_id)
